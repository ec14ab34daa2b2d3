//! Text, cells and tables in HTML. What an exchange said gets into a page through [`text`] alone.

use std::fmt::{self, Display, Write};

/// A value as text of a page or of a quoted attribute.
pub(super) fn text(value: impl Display) -> impl Display {
    Escaped(value)
}

struct Escaped<T>(T);

impl<T: Display> Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaper(f), "{}", self.0)
    }
}

struct Escaper<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl Write for Escaper<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| self.write_char(c))
    }

    fn write_char(&mut self, c: char) -> fmt::Result {
        match c {
            '&' => self.0.write_str("&amp;"),
            '<' => self.0.write_str("&lt;"),
            '>' => self.0.write_str("&gt;"),
            '"' => self.0.write_str("&quot;"),
            '\'' => self.0.write_str("&#39;"),
            '\n' | '\t' => self.0.write_char(' '),
            // Neither controls nor what turns the direction of the text around it.
            c if c.is_control() => self.0.write_char('\u{fffd}'),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => self.0.write_char('\u{fffd}'),
            c => self.0.write_char(c),
        }
    }
}

/// How good something is; shown by a sign as well as by colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    Good,
    Odd,
    Bad,
}

impl Mood {
    pub(super) fn good_if(good: bool) -> Self {
        if good { Self::Good } else { Self::Bad }
    }

    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Odd => "odd",
            Self::Bad => "bad",
        }
    }

    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::Good => "✓",
            Self::Odd => "!",
            Self::Bad => "✕",
        }
    }
}

/// A word with its mood.
pub(super) fn badge(mood: Mood, word: impl Display) -> String {
    format!(
        "<span class=\"badge {}\"><span aria-hidden=\"true\">{}</span> {}</span>",
        mood.class(),
        mood.sign(),
        text(word)
    )
}

/// One cell of a table.
pub(super) struct Cell {
    class: &'static str,
    html: String,
}

impl Cell {
    pub(super) fn words(value: impl Display) -> Self {
        Self { class: "", html: text(value).to_string() }
    }

    /// A name that is not broken over lines.
    pub(super) fn name(value: impl Display) -> Self {
        Self { class: "name", html: text(value).to_string() }
    }

    pub(super) fn number(value: impl Display) -> Self {
        Self { class: "number", html: text(value).to_string() }
    }

    /// A number that may be missing.
    pub(super) fn maybe(value: Option<impl Display>) -> Self {
        value.map_or_else(|| Self { class: "number", html: String::new() }, Self::number)
    }

    pub(super) fn id(value: impl Display) -> Self {
        Self { class: "id", html: text(value).to_string() }
    }

    pub(super) fn badge(mood: Mood, word: impl Display) -> Self {
        Self { class: "", html: badge(mood, word) }
    }

    /// Sets it as numbers are set.
    pub(super) fn numeric(self) -> Self {
        Self { class: "number", ..self }
    }

    /// Adds a smaller line under it.
    pub(super) fn under(mut self, line: Option<impl Display>) -> Self {
        if let Some(line) = line {
            _ = write!(self.html, "<small>{}</small>", text(line));
        }
        self
    }
}

/// A table whose rows become cards where the page is narrow.
pub(super) struct Table {
    headers: &'static [&'static str],
    numbers: Vec<bool>,
    body: String,
    foot: String,
}

impl Table {
    pub(super) fn new(headers: &'static [&'static str]) -> Self {
        Self { headers, numbers: Vec::new(), body: String::new(), foot: String::new() }
    }

    pub(super) fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        if self.numbers.is_empty() {
            self.numbers = cells.iter().map(|cell| cell.class == "number").collect();
        }
        write_row(&mut self.body, self.headers, cells);
    }

    /// Words on the row above, over the whole width.
    pub(super) fn note(&mut self, words: &str) {
        if !words.is_empty() {
            let columns = self.headers.len();
            _ = writeln!(
                self.body,
                "<tr class=\"note\"><td colspan=\"{columns}\">{}</td></tr>",
                text(words)
            );
        }
    }

    /// A row of sums.
    pub(super) fn sum<const N: usize>(&mut self, cells: [Cell; N]) {
        write_row(&mut self.foot, self.headers, cells);
    }
}

fn write_row<const N: usize>(rows: &mut String, headers: &[&str], cells: [Cell; N]) {
    rows.push_str("<tr>");
    for (header, Cell { class, html }) in headers.iter().zip(cells) {
        let empty = if html.is_empty() { " empty" } else { "" };
        _ = write!(rows, "<td class=\"{class}{empty}\" data-label=\"{header}\">{html}</td>");
    }
    rows.push_str("</tr>\n");
}

impl Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<table>\n<thead><tr>")?;
        for (index, header) in self.headers.iter().enumerate() {
            let number = self.numbers.get(index).is_some_and(|number| *number);
            let class = if number { " class=\"number\"" } else { "" };
            write!(f, "<th scope=\"col\"{class}>{}</th>", text(header))?;
        }
        write!(f, "</tr></thead>\n<tbody>\n{}</tbody>\n", self.body)?;
        if !self.foot.is_empty() {
            write!(f, "<tfoot>\n{}</tfoot>\n", self.foot)?;
        }
        f.write_str("</table>\n")
    }
}

/// A section with its heading, or nothing where there is nothing to show.
pub(super) fn section(page: &mut String, id: &str, heading: &str, content: &str) {
    if !content.is_empty() {
        _ = write!(
            page,
            "<section id=\"{id}\" aria-labelledby=\"h-{id}\">\n<h2 id=\"h-{id}\">{}</h2>\n\
             {content}</section>\n",
            text(heading)
        );
    }
}

/// A time as people read it: milliseconds, or seconds from ten on.
pub(super) fn time(ms: u64) -> String {
    if ms < 10_000 {
        return format!("{ms} ms");
    }
    let text = format!("{}.{:02}", ms / 1000, ms % 1000 / 10);
    format!("{} s", text.trim_end_matches('0').trim_end_matches('.'))
}

/// A number of things whose plural ends in s.
pub(super) fn count(number: u64, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

/// The same with a capital at its beginning.
pub(super) fn capital(words: &str) -> String {
    let mut chars = words.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// A name of code in words: `still_open` is "still open".
pub(super) fn spaced(name: &str) -> String {
    name.replace('_', " ")
}
