//! Text as people read it in a mail: CRLF lines of a width that every program shows, wrapped at spaces.

/// Characters of a line; quoted once or twice it still fits a window of 80.
const WIDTH: usize = 72;

/// Lines of text.
#[derive(Default)]
pub(super) struct Page(String);

impl Page {
    /// Lines, and an empty one behind them.
    pub(super) fn paragraph(&mut self, indent: usize, text: &str) {
        self.line(indent, text);
        self.end_paragraph();
    }

    pub(super) fn end_paragraph(&mut self) {
        self.0.push_str("\r\n");
    }

    /// `text`, wrapped at its spaces, each line indented.
    pub(super) fn line(&mut self, indent: usize, text: &str) {
        let indent = " ".repeat(indent);
        let mut room = 0;
        for (index, word) in text.split(' ').enumerate() {
            let length = word.chars().count();
            if index > 0 && length < room {
                self.0.push(' ');
                room -= length + 1;
            } else {
                self.0.push_str(if index > 0 { "\r\n" } else { "" });
                self.0.push_str(&indent);
                room = WIDTH.saturating_sub(indent.len() + length);
            }
            self.0.push_str(word);
        }
        self.0.push_str("\r\n");
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }
}
