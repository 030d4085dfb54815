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

    /// Adds exchanges before and after phases, each in one of its own; both are asked for the works of a phase.
    pub fn interleave(
        &mut self,
        before: impl Fn(&[(Work, usize)]) -> Vec<Exchange>,
        after: impl Fn(&[(Work, usize)]) -> Vec<Exchange>,
    ) {
        let alone = std::mem::take(self);
        for phase in 0..alone.len() {
            let works = alone.works(phase);
            let exchanges =
                |list: Vec<Exchange>| list.into_iter().map(|exchange| [(Work::Exchange(exchange), 1)]);
            exchanges(before(works)).for_each(|exchange| self.push(exchange));
            self.push(works.iter().copied());
            exchanges(after(works)).for_each(|exchange| self.push(exchange));
        }
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
