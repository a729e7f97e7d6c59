//! Small languages inside a scalar: the scanner they share, and errors that know their column.

use std::ops::Range;

/// Why a text does not follow its grammar.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SyntaxError {
    /// First character concerned, from 0.
    pub column: usize,
    /// How many are.
    pub length: usize,
    /// What is wrong.
    pub message: String,
    /// What to write.
    pub help: String,
}

/// Reads a text character by character.
pub(in crate::scenario) struct Scan {
    chars: Vec<char>,
    at: usize,
}

impl Scan {
    pub(in crate::scenario) fn new(text: &str) -> Self {
        Self {
            chars: text.chars().collect(),
            at: 0,
        }
    }

    /// The column of the next character.
    pub(in crate::scenario) fn at(&self) -> usize {
        self.at
    }

    /// Goes back to a column that was read before.
    pub(in crate::scenario) fn back_to(&mut self, column: usize) {
        self.at = column;
    }

    pub(in crate::scenario) fn is_at_end(&self) -> bool {
        self.at >= self.chars.len()
    }

    pub(in crate::scenario) fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    pub(in crate::scenario) fn advance(&mut self) -> Option<char> {
        let next = self.peek();
        self.at += usize::from(next.is_some());
        next
    }

    /// Takes this character if it is the next one.
    pub(in crate::scenario) fn skip(&mut self, wanted: char) -> bool {
        let there = self.peek() == Some(wanted);
        self.at += usize::from(there);
        there
    }

    pub(in crate::scenario) fn space(&mut self) {
        self.take(char::is_whitespace);
    }

    /// A name; empty when none stands here.
    pub(in crate::scenario) fn name(&mut self) -> String {
        self.take(|c| c.is_alphanumeric() || c == '-' || c == '_')
    }

    /// All characters up to the first that is not wanted.
    pub(in crate::scenario) fn take(&mut self, wanted: impl Fn(char) -> bool) -> String {
        let start = self.at;
        while self.peek().is_some_and(&wanted) {
            self.at += 1;
        }
        self.chars[start..self.at].iter().collect()
    }

    /// The next word without taking it.
    pub(in crate::scenario) fn upcoming(&self) -> String {
        self.chars[self.at..]
            .iter()
            .skip_while(|c| c.is_whitespace())
            .take_while(|c| !c.is_whitespace())
            .collect()
    }

    /// Columns of the word that stands here.
    pub(in crate::scenario) fn rest_word(&self) -> Range<usize> {
        let length = self.chars[self.at..]
            .iter()
            .take_while(|c| !c.is_whitespace())
            .count();
        self.at..self.at + length
    }

    /// The characters of a place.
    pub(in crate::scenario) fn slice(&self, place: Range<usize>) -> String {
        let end = place.end.min(self.chars.len());
        self.chars[place.start.min(end)..end].iter().collect()
    }

    /// An error at a place, which may end beyond the text.
    pub(in crate::scenario) fn error(
        &self,
        place: Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> SyntaxError {
        let end = place.end.min(self.chars.len().max(place.start + 1));
        SyntaxError {
            column: place.start,
            length: end.saturating_sub(place.start).max(1),
            message: message.into(),
            help: help.into(),
        }
    }
}
