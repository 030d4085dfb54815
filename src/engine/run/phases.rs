//! The order of work of a program, in memory that is used again: a steady op allocates nothing.

use super::super::plan::{Exchange, Work};

/// Phases of independent works and their tasks.
#[derive(Debug, Default)]
pub(in super::super) struct Phases {
    works: Vec<(Work, usize)>,
    /// Where every phase ends.
    ends: Vec<usize>,
}

impl Phases {
    /// Forgets all phases.
    pub fn clear(&mut self) {
        self.works.clear();
        self.ends.clear();
    }

    /// Adds a phase.
    pub fn push(&mut self, works: impl IntoIterator<Item = (Work, usize)>) {
        self.works.extend(works);
        self.ends.push(self.works.len());
    }

    /// Adds phases that were planned before.
    pub fn extend(&mut self, phases: &[Vec<(Work, usize)>]) {
        for phase in phases {
            self.push(phase.iter().copied());
        }
    }

    /// Adds an exchange, in a phase of its own.
    pub fn exchange(&mut self, exchange: Exchange) {
        self.push([(Work::Exchange(exchange), 1)]);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// The works of a phase.
    pub fn works(&self, phase: usize) -> &[(Work, usize)] {
        let start = phase.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.works[start..self.ends[phase]]
    }

    /// The works of all phases.
    pub fn all(&self) -> &[(Work, usize)] {
        &self.works
    }

    /// The first phase from `start` on with a work that `is` accepts.
    pub fn find(&self, start: usize, is: impl Fn(Work) -> bool) -> Option<usize> {
        (start..self.len()).find(|&phase| self.works(phase).iter().any(|(work, _)| is(*work)))
    }
}
