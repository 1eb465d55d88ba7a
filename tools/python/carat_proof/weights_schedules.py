"""The parameters of docs/protocol-weights.md, section 1, as the page prints them (test_weights.py compares)."""

# n | c | d | work | t (proven-100) | t (proven-120) | u | K | fold
ROWS = """
| 3, 4 | 3 | 12 | 12 | 37 | 47 | 2 | 64 | sent |
| 5 to 7 | 4 | 12 | 12 | 38 | 49 | 2 | 64 | sent |
| 8, 9 | 5 | 12 | 12 | 40 | 51 | 2 | 64 | sent |
| 10, 11 | 6 | 13 | 12 | 35 | 44 | 2 | 64 | sent |
| 12 | 7 | 13 | 12 | 39 | 49 | 2 | 64 | sent |
| 13 | 7 | 14 | 12 | 33 | 40 | 2 | 64 | sent |
| 14, 15 | 8 | 14 | 12 | 37 | 45 | 2 | 64 | sent |
| 16, 17 | 9 | 15 | 12 | 36 | 44 | 2 | 64 | sent |
| 18, 19 | 10 | 15 | 12 | 43 | 52 | 2 | 64 | sent |
| 20, 21 | 13 | 17 | 14 | 54 | 67 | 32 | 1 | committed |
| 22, 23 | 14 | 17 | 14 | 72 | 90 | 32 | 1 | committed |
| 24, 25 | 15 | 17 | 16 | 110 | 138 | 32 | 1 | committed |
| 26 | 16 | 18 | 16 | 106 | 130 | 32 | 1 | committed |
"""
