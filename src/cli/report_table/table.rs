//! Tables and text of at most 100 columns, for readers who may be a terminal.

use comfy_table::{
    Attribute, Cell, CellAlignment, Color, ColumnConstraint, ContentArrangement, LineStyle, Table,
    TableStyle,
};

pub(super) const WIDTH: u16 = 100;

/// A line under the header and nothing else.
const STYLE: TableStyle = TableStyle::new().header_separator(LineStyle::new('─', '─', '─', '─'));

/// The table as text. Its last column may be wrapped to fit, the others not.
pub(crate) fn shown(table: &Table) -> String {
    let last = table.column_max_content_widths().len().saturating_sub(1);
    shown_with(table, &[last])
}

/// The table as text. These of its columns may be wrapped to fit.
pub(super) fn shown_with(table: &Table, flexible: &[usize]) -> String {
    let mut table = table.clone();
    for (index, column) in table.column_iter_mut().enumerate() {
        if !flexible.contains(&index) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    table.trim_fmt()
}

/// An empty table in the style of all.
pub(crate) fn new_table(header: &[&str], colors: bool) -> Table {
    let mut table = Table::new();
    table
        .load_style(STYLE)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(WIDTH)
        .set_header(header.iter().map(|title| Cell::new(title).add_attribute(Attribute::Bold)));
    if colors {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    table
}

pub(crate) fn right(value: impl Into<Cell>) -> Cell {
    value.into().set_alignment(CellAlignment::Right)
}

pub(crate) fn judged(text: impl Into<Cell>, good: bool) -> Cell {
    let cell = text.into();
    if good { cell.fg(Color::Green) } else { cell.fg(Color::Red) }
}

/// What somebody else wrote, without what would move a terminal's cursor or turn its text around.
pub(super) fn clean(text: &str) -> String {
    let plain = |c: char| match c {
        '\n' | '\t' => ' ',
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    text.chars().map(plain).collect()
}

/// A text cleaned and broken into lines that fit, the first after `first`, the others indented.
pub(super) fn wrapped(first: &str, text: &str) -> String {
    let mut lines = String::from(first);
    let (indent, mut column) = (4, first.chars().count());
    let mut begins = true;
    for word in clean(text).split(' ').filter(|word| !word.is_empty()) {
        let length = word.chars().count();
        if !begins && column + 1 + length > usize::from(WIDTH) {
            lines.push('\n');
            lines.push_str(&" ".repeat(indent));
            column = indent;
        } else if !begins {
            lines.push(' ');
            column += 1;
        }
        lines.push_str(word);
        column += length;
        begins = false;
    }
    lines.push('\n');
    lines
}

/// A name of code in words.
pub(super) fn spaced(name: &str) -> String {
    name.replace('_', " ")
}
