//! Reads typed values out of a spanned TOML document, remembers where each stands, and collects
//! faults instead of stopping at the first.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use rust_decimal::Decimal;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use url::Url;

use super::duration::parse_duration;
use super::{ConfigError, Fault};
use crate::types::exact_decimal;

pub(super) type Value<'t> = Spanned<DeValue<'t>>;

/// Where environment variables are looked up: the process, or a test's table.
pub(super) type Environment<'e> = &'e dyn Fn(&str) -> Option<String>;

pub(super) struct Reader<'t> {
    origin: &'t str,
    text: &'t str,
    pub(super) environment: Environment<'t>,
    /// Byte ranges of the values read, by key.
    places: BTreeMap<String, Range<usize>>,
    faults: Vec<(usize, Fault)>,
}

/// One table of the document, and the keys that have been asked for.
pub(super) struct Section<'t> {
    pub(super) path: String,
    table: Option<&'t DeTable<'t>>,
    known: Vec<&'static str>,
}

impl<'t> Section<'t> {
    pub(super) fn root(table: &'t DeTable<'t>) -> Self {
        Self { path: String::new(), table: Some(table), known: Vec::new() }
    }

    pub(super) fn key(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    pub(super) fn get(&mut self, name: &'static str) -> Option<&'t Value<'t>> {
        // Some keys are looked at twice, but are one key to the reader of a fault.
        if !self.known.contains(&name) {
            self.known.push(name);
        }
        self.table?.get(name)
    }
}

impl<'t> Reader<'t> {
    pub(super) fn new(origin: &'t str, text: &'t str, environment: Environment<'t>) -> Self {
        Self { origin, text, environment, places: BTreeMap::new(), faults: Vec::new() }
    }

    pub(super) fn fault_at(&mut self, offset: usize, mut fault: Fault) {
        (fault.line, fault.column) = line_and_column(self.text, offset);
        // What a broken line seems to say is a guess of the parser, not the user's word.
        if self.faults.iter().any(|(_, known)| known.key.is_empty() && known.line == fault.line) {
            return;
        }
        self.origin.clone_into(&mut fault.file);
        self.faults.push((offset, fault));
    }

    fn fault(&mut self, value: &Value<'_>, key: String, problem: impl Into<String>, help: &str) {
        self.fault_at(value.span().start, Fault::new(key, problem).help(help));
    }

    /// Adds a fault found by a check of the whole, unless what it is about could not be read: then
    /// that has been reported, and what was checked is only the default.
    pub(super) fn fault_of_check(&mut self, fault: Fault) {
        let about = |known: &str| {
            let rest = known.strip_prefix(fault.key.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        if !self.faults.iter().any(|(_, known)| about(&known.key)) {
            self.fault_of_key(fault);
        }
    }

    /// Adds a fault at the place of its key, or of the nearest key above.
    pub(super) fn fault_of_key(&mut self, fault: Fault) {
        let mut key = fault.key.as_str();
        let offset = loop {
            if let Some(place) = self.places.get(key) {
                break place.start;
            }
            match key.rfind(['.', '[']) {
                Some(end) => key = &key[..end],
                None => break 0,
            }
        };
        self.fault_at(offset, fault);
    }

    /// All faults, in the order of the file.
    pub(super) fn finish(mut self) -> Option<ConfigError> {
        if self.faults.is_empty() {
            return None;
        }
        self.faults.sort_by_key(|(offset, _)| *offset);
        Some(ConfigError { faults: self.faults.into_iter().map(|(_, fault)| fault).collect() })
    }

    /// The keys that the user gave and nobody asked for.
    pub(super) fn close(&mut self, section: &Section<'t>) {
        let Some(table) = section.table else { return };
        for key in table.keys() {
            let name = key.get_ref().as_ref();
            if section.known.contains(&name) {
                continue;
            }
            let nearest = nearest(name, section.known.iter().copied());
            let help = nearest.map_or_else(
                || format!("known here: {}", section.known.join(", ")),
                |nearest| format!("did you mean `{nearest}`?"),
            );
            self.fault_at(
                key.span().start,
                Fault::new(section.key(name), "unknown key").help(help),
            );
        }
    }

    pub(super) fn section(&mut self, parent: &mut Section<'t>, name: &'static str) -> Section<'t> {
        let path = parent.key(name);
        let value = parent.get(name);
        self.table(path, value)
    }

    pub(super) fn table(&mut self, path: String, value: Option<&'t Value<'t>>) -> Section<'t> {
        let mut section = Section { path: path.clone(), table: None, known: Vec::new() };
        if let Some(value) = value {
            self.places.insert(path.clone(), value.span());
            match value.get_ref().as_table() {
                Some(table) => section.table = Some(table),
                None => self.wrong_type(value, path, "a table", "write it as a [section]"),
            }
        }
        section
    }

    /// Every table inside a section, by name, in the order of the file.
    pub(super) fn tables(&mut self, section: &Section<'t>) -> Vec<(&'t str, usize, Section<'t>)> {
        let Some(table) = section.table else { return Vec::new() };
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        entries
            .into_iter()
            .map(|(key, value)| {
                let name: &'t str = key.get_ref().as_ref();
                (name, key.span().start, self.table(section.key(name), Some(value)))
            })
            .collect()
    }

    /// Every table of a list of tables, with its place in the file.
    pub(super) fn list_of_tables(
        &mut self,
        section: &mut Section<'t>,
        name: &'static str,
        help: &str,
    ) -> Vec<(usize, Section<'t>)> {
        let Some(value) = self.value(section, name) else { return Vec::new() };
        let Some(array) = value.get_ref().as_array() else {
            self.wrong_type(value, section.key(name), "a list", help);
            return Vec::new();
        };
        let path = section.key(name);
        let table = |(index, item): (usize, &'t Value<'t>)| {
            (item.span().start, self.table(format!("{path}[{index}]"), Some(item)))
        };
        array.iter().enumerate().map(table).collect()
    }

    fn wrong_type(&mut self, value: &Value<'_>, key: String, wanted: &str, help: &str) {
        let problem = format!("expected {wanted}, found {}", found(value.get_ref()));
        self.fault(value, key, problem, help);
    }

    fn value(&mut self, section: &mut Section<'t>, name: &'static str) -> Option<&'t Value<'t>> {
        let value = section.get(name)?;
        self.places.insert(section.key(name), value.span());
        Some(value)
    }

    pub(super) fn text(
        &mut self,
        section: &mut Section<'t>,
        name: &'static str,
        help: &str,
    ) -> Option<(&'t str, &'t Value<'t>)> {
        let value = self.value(section, name)?;
        let text = value.get_ref().as_str();
        if text.is_none() {
            self.wrong_type(value, section.key(name), "text", help);
        }
        text.map(|text| (text, value))
    }

    /// One of some words.
    pub(super) fn choice<T: Copy>(
        &mut self,
        section: &mut Section<'t>,
        name: &'static str,
        choices: &[(&'static str, T)],
    ) -> Option<T> {
        let words: Vec<_> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        let help = format!("write {}", words.join(" or "));
        let (text, value) = self.text(section, name, &help)?;
        let found = choices.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let problem = format!("`{}` is none of its values", shorten(text));
            self.fault_at(value.span().start, Fault::new(section.key(name), problem).help(help));
        }
        found.map(|(_, value)| *value)
    }

    pub(super) fn path(
        &mut self,
        section: &mut Section<'t>,
        name: &'static str,
    ) -> Option<PathBuf> {
        self.text(section, name, "write the path in quotes").map(|(text, _)| PathBuf::from(text))
    }

    pub(super) fn duration(
        &mut self,
        section: &mut Section<'t>,
        name: &'static str,
    ) -> Option<Duration> {
        const HELP: &str = "write a number and a unit in quotes, like \"250ms\" or \"1m 30s\"";
        let (text, value) = self.text(section, name, HELP)?;
        let parsed = parse_duration(text);
        if parsed.is_err() {
            let problem = format!("`{}` is no duration", shorten(text));
            self.fault(value, section.key(name), problem, HELP);
        }
        parsed.ok()
    }

    pub(super) fn count(&mut self, section: &mut Section<'t>, name: &'static str) -> Option<usize> {
        let value = self.value(section, name)?;
        let Some(integer) = value.get_ref().as_integer() else {
            self.wrong_type(value, section.key(name), "a whole number", "write it without quotes");
            return None;
        };
        let number = usize::from_str_radix(integer.as_str(), integer.radix());
        if number.is_err() {
            self.fault(value, section.key(name), "the number is out of range", "use 0 or more");
        }
        number.ok()
    }

    /// A decimal number, exactly as it is written: in quotes or without.
    pub(super) fn decimal(
        &mut self,
        section: &mut Section<'t>,
        name: &'static str,
    ) -> Option<Decimal> {
        let value = self.value(section, name)?;
        self.decimal_of(value, section.key(name))
    }

    /// A table of decimal numbers, by names of the user's choice.
    pub(super) fn decimals(
        &mut self,
        section: &mut Section<'t>,
        name: &'static str,
        help: &str,
    ) -> Vec<(String, Decimal)> {
        let Some(value) = self.value(section, name) else { return Vec::new() };
        let Some(table) = value.get_ref().as_table() else {
            self.wrong_type(value, section.key(name), "a table", help);
            return Vec::new();
        };
        let mut found = Vec::with_capacity(table.len());
        for (name_of, value) in table {
            let name_of: &str = name_of.get_ref().as_ref();
            let key = format!("{}.{name_of}", section.key(name));
            self.places.insert(key.clone(), value.span());
            found.extend(self.decimal_of(value, key).map(|number| (name_of.to_owned(), number)));
        }
        found
    }

    fn decimal_of(&mut self, value: &Value<'_>, key: String) -> Option<Decimal> {
        const HELP: &str = "write at most 28 digits, like \"0.5\"";
        let text = match value.get_ref() {
            DeValue::String(text) => text.as_ref(),
            DeValue::Float(number) => number.as_str(),
            DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
            _ => {
                self.wrong_type(value, key, "a number", HELP);
                return None;
            }
        };
        let number = exact_decimal(text);
        if number.is_err() {
            let problem = format!("`{}` is no decimal number", shorten(text));
            self.fault(value, key, problem, HELP);
        }
        number.ok()
    }

    pub(super) fn flag(&mut self, section: &mut Section<'t>, name: &'static str) -> Option<bool> {
        let value = self.value(section, name)?;
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            self.wrong_type(value, section.key(name), "true or false", "write it without quotes");
        }
        flag
    }

    pub(super) fn url(&mut self, section: &mut Section<'t>, name: &'static str) -> Option<Url> {
        const HELP: &str = "write it like \"wss://ws.kraken.com/v2\"";
        let (text, value) = self.text(section, name, HELP)?;
        match Url::parse(text) {
            Ok(url) => Some(url),
            Err(error) => {
                self.fault(value, section.key(name), format!("no address: {error}"), HELP);
                None
            }
        }
    }

    /// Each text of a list with its key, its place in the file, and itself.
    pub(super) fn texts(
        &mut self,
        section: &mut Section<'t>,
        name: &'static str,
        help: &str,
    ) -> Option<Vec<(String, usize, &'t str)>> {
        let value = self.value(section, name)?;
        let Some(array) = value.get_ref().as_array() else {
            self.wrong_type(value, section.key(name), "a list", help);
            return None;
        };
        let mut texts = Vec::with_capacity(array.len());
        for (index, item) in array.iter().enumerate() {
            let key = format!("{}[{index}]", section.key(name));
            match item.get_ref().as_str() {
                Some(text) => texts.push((key, item.span().start, text)),
                None => self.wrong_type(item, key, "text", help),
            }
        }
        Some(texts)
    }
}

fn found(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// The known word most like the given one, if one is near enough to be meant.
pub(super) fn nearest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let allowed = (word.chars().count() / 3).clamp(1, 4);
    known
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Optimal string alignment: insertions, deletions, replacements and swaps of neighbours.
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().take(64).collect();
    let right: Vec<char> = right.chars().take(64).collect();
    let mut rows: Vec<Vec<usize>> = vec![(0..=right.len()).collect()];
    for i in 1..=left.len() {
        let mut row = vec![i];
        for j in 1..=right.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(left[i - 1] != right[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[left.len()][right.len()]
}

fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    let before = &text[..offset];
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (line, before[start..].chars().count() + 1)
}

pub(super) fn shorten(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_suggested_only_when_it_is_near() {
        let known = ["deadline", "disconnect", "cancel_pending"];
        assert_eq!(nearest("deadlne", known.into_iter()), Some("deadline"));
        assert_eq!(nearest("deadlien", known.into_iter()), Some("deadline"));
        assert_eq!(nearest("cancel-pending", known.into_iter()), Some("cancel_pending"));
        assert_eq!(nearest("colour", known.into_iter()), None);
    }

    #[test]
    fn places_count_lines_and_characters_from_one() {
        assert_eq!(line_and_column("a = 1\nü = 2", 0), (1, 1));
        assert_eq!(line_and_column("a = 1\nü = 2", 6), (2, 1));
        assert_eq!(line_and_column("a = 1\nü = 2", 9), (2, 3));
        assert_eq!(line_and_column("a", 99), (1, 2));
    }
}
