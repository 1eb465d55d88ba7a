//! Columns of text.

use carat_receipt::label::misleads;

/// One line of text: what strangers wrote, such as a model card, may not start another line or drive the terminal.
pub(crate) fn plain(text: &str) -> String {
    let shown = |c: char| if misleads(c) { '\u{fffd}' } else { c };
    text.chars().map(shown).collect()
}

/// Rows whose columns line up; the last column is as long as it likes.
pub(crate) struct Table {
    columns: usize,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table of that many columns.
    pub(crate) fn new(columns: usize) -> Self {
        Self {
            columns,
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub(crate) fn row<S: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = S>) {
        let cells = cells.into_iter().map(|cell| plain(cell.as_ref()));
        self.rows.push(cells.take(self.columns).collect());
    }

    /// The text, each line after `indent`.
    pub(crate) fn render(&self, indent: &str) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::from(indent);
            for (column, cell) in row.iter().enumerate() {
                let pad = if column + 1 < row.len() {
                    widths[column] - cell.chars().count() + 2
                } else {
                    0
                };
                line.push_str(cell);
                line.push_str(&" ".repeat(pad));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_one_line() {
        let mut table = Table::new(2);
        table.row(["About", "fine\nGood for\n  replay: 1000000 USD\u{1b}[2J"]);
        let text = table.render("");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(!text.contains('\u{1b}'));
    }
}
