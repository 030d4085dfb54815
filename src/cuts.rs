//! How work is cut into tasks, and how many threads it is worth: the rules that functional calls and the steps of a model
//! share. All of them go by shapes, never by the number of threads, so that results do not depend on it.

use std::ops::Range;

use crate::parallel;
use crate::tuning::{
    FOUR_TILES_ROWS, SERIAL_ELEMENTS, SERIAL_MACS_OF_CALL, SERIAL_MACS_OF_PROGRAM, TASK_ELEMENTS, TASK_MACS,
    TASKS,
};

/// Threads for a call of this many multiply-adds.
pub fn workers_for_macs(macs: usize) -> usize {
    if macs < SERIAL_MACS_OF_CALL { 1 } else { parallel::threads() }
}

/// Threads for a call that touches this many elements (or does as much work).
pub fn workers_for_elements(elements: usize) -> usize {
    if elements < SERIAL_ELEMENTS { 1 } else { parallel::threads() }
}

/// Whether a program, which has phases, is worth waking other threads for.
pub fn shares_program(macs: usize) -> bool {
    macs >= SERIAL_MACS_OF_PROGRAM
}

/// The length of equal tasks that share `len`, at most `most` of them; the last may be shorter.
pub fn even_task(len: usize, most: usize) -> usize {
    len.div_ceil(most.clamp(1, len.max(1)))
}

/// The length of equal tasks that share `len`, none longer than `longest`.
pub fn even_task_within(len: usize, longest: usize) -> usize {
    even_task(len, len.div_ceil(longest.max(1)))
}

/// Rows of a task, if a row costs as much as touching `row_cost` elements.
pub fn task_rows(rows: usize, row_cost: usize) -> usize {
    TASK_ELEMENTS.div_ceil(row_cost.max(1)).clamp(1, rows.max(1))
}

/// Units of a task, of `units` a sample that cost `macs` in all.
pub fn task_units(units: usize, samples: usize, macs: usize) -> usize {
    let wanted = (macs / TASKS).clamp(TASK_MACS[0], TASK_MACS[1]);
    let unit = (macs / (units * samples).max(1)).max(1);
    even_task_within(units, wanted.div_ceil(unit).clamp(1, units))
}

/// Tasks that the rows of a kernel are worth in a product: four tiles each at least.
pub fn kernel_tasks(rows: usize) -> usize {
    rows / FOUR_TILES_ROWS
}

/// Equal tasks that share a range; the last may be shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvenTasks {
    len: usize,
    task: usize,
}

impl EvenTasks {
    /// Cuts `len` elements at multiples of `unit` into at most `most` tasks.
    pub fn new((len, unit): (usize, usize), most: usize) -> Self {
        let unit = unit.max(1);
        Self { len, task: even_task(len.div_ceil(unit).max(1), most) * unit }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.len.div_ceil(self.task).max(1)
    }

    /// What task number `i` has.
    pub fn of(&self, i: usize) -> Range<usize> {
        i * self.task..((i + 1) * self.task).min(self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_cover_everything_once() {
        for (len, unit, most) in [(121, 11, 4), (121, 11, 50), (7, 3, 2), (5, 8, 3), (1, 1, 1), (100, 7, 0)] {
            let cut = EvenTasks::new((len, unit), most);
            assert!(cut.count() <= most.max(1));
            let mut next = 0;
            for i in 0..cut.count() {
                let task = cut.of(i);
                assert!(task.start == next && task.start.is_multiple_of(unit) && task.end > task.start);
                next = task.end;
            }
            assert_eq!(next, len);
        }
    }

    #[test]
    fn even_tasks_are_no_more_and_no_longer_than_asked() {
        for len in 1..40usize {
            for asked in 1..45 {
                assert!(len.div_ceil(even_task(len, asked)) <= asked);
                assert!((1..=asked.min(len)).contains(&even_task_within(len, asked)));
            }
        }
        assert_eq!([even_task(0, 3), even_task_within(0, 3)], [0, 0]);
    }
}
