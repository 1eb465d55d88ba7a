"""The parameters of docs/protocol-weights.md, section 1, as the page prints them (test_weights.py compares)."""

# n | c | d | work | t (proven-100) | t (proven-120) | fold
ROWS = """
| 3 | 3 | 15 | 12 | 41 | 56 | shown |
| 4 | 4 | 15 | 12 | 42 | 56 | shown |
| 5 | 5 | 15 | 12 | 42 | 57 | shown |
| 6 | 6 | 15 | 12 | 42 | 57 | shown |
| 7 to 13 | 7 | 15 | 12 | 43 | 58 | shown |
| 14, 15 | 8 | 15 | 12 | 45 | 60 | shown |
| 16, 17 | 9 | 15 | 12 | 48 | 64 | shown |
| 18, 19 | 10 | 16 | 12 | 40 | 51 | shown |
| 20, 21 | 13 | 17 | 14 | 54 | 67 | committed |
| 22, 23 | 14 | 17 | 14 | 72 | 90 | committed |
| 24, 25 | 15 | 17 | 16 | 110 | 138 | committed |
| 26 | 16 | 18 | 16 | 106 | 130 | committed |
"""
