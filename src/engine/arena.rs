//! An arena for tensors that live for a while, as offsets in one buffer: two share memory if their times do not meet.

use std::ops::RangeInclusive;

use crate::tuning::LINE_ELEMENTS;

/// Elements that a tensor takes: tensors are staggered by a line, so that powers of two do not meet in the same sets of
/// a cache.
fn room(len: usize) -> usize {
    len.next_multiple_of(LINE_ELEMENTS) + LINE_ELEMENTS
}

/// A bump allocator: hands out offsets one after the other.
#[derive(Debug, Default)]
pub(super) struct Bump(pub usize);

impl Bump {
    pub fn take(&mut self, len: usize) -> usize {
        let place = self.0;
        self.0 += room(len);
        place
    }

    /// Takes room and returns where it ends.
    pub fn take_end(mut self, len: usize) -> usize {
        self.take(len);
        self.0
    }
}

/// A tensor: its elements, and from when to when it is needed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Lifetime {
    pub len: usize,
    pub time: RangeInclusive<usize>,
}

/// Places for all tensors, and how much they take together.
///
/// Each goes to the lowest gap among those whose times meet its own. That is done in order of time, which is best for
/// chains, and again in order of size, which is best for most graphs; the smaller result counts.
pub(super) fn share(lives: &[Lifetime]) -> (Vec<usize>, usize) {
    let mut by_size: Vec<usize> = (0..lives.len()).collect();
    let mut by_time = by_size.clone();
    by_size.sort_by_key(|&i| std::cmp::Reverse(lives[i].len));
    by_time.sort_by_key(|&i| *lives[i].time.start());
    let tries = [place_in_order(lives, &by_time), place_in_order(lives, &by_size)];
    let [first, second] = tries;
    if second.1 < first.1 { second } else { first }
}

fn place_in_order(lives: &[Lifetime], order: &[usize]) -> (Vec<usize>, usize) {
    let mut places = vec![0; lives.len()];
    let mut placed: Vec<usize> = Vec::with_capacity(lives.len());
    let mut total = 0;
    for &i in order {
        let meets = |&&j: &&usize| {
            lives[j].time.start() <= lives[i].time.end() && lives[i].time.start() <= lives[j].time.end()
        };
        let mut taken: Vec<(usize, usize)> =
            placed.iter().filter(meets).map(|&j| (places[j], places[j] + room(lives[j].len))).collect();
        taken.sort_unstable();
        let mut start = 0;
        for (from, to) in taken {
            if start + room(lives[i].len) <= from {
                break;
            }
            start = start.max(to);
        }
        places[i] = start;
        total = total.max(start + room(lives[i].len));
        placed.push(i);
    }
    (places, total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lives(list: &[(usize, usize, usize)]) -> Vec<Lifetime> {
        list.iter().map(|&(len, from, to)| Lifetime { len, time: from..=to }).collect()
    }

    #[test]
    fn a_chain_alternates_between_two_places() {
        let (places, total) = share(&lives(&[(100, 0, 1), (80, 1, 2), (100, 2, 3), (60, 3, 4)]));
        assert_eq!((places[0], places[2]), (0, 0));
        assert_eq!(total, room(100) + room(80));
        // Where the largest ones are not neighbours, either order alone would do worse.
        let (_, total) = share(&lives(&[(100, 0, 1), (50, 1, 2), (50, 2, 3), (90, 3, 4)]));
        assert_eq!(total, room(100) + room(50));
    }

    #[test]
    fn tensors_of_one_time_do_not_overlap() {
        let mut state = 7u64;
        let mut next = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 33) % below) as usize
        };
        for _ in 0..200 {
            let list: Vec<(usize, usize, usize)> = (0..next(12))
                .map(|_| {
                    let from = next(8);
                    (next(50), from, from + next(4))
                })
                .collect();
            let lives = lives(&list);
            let (places, total) = share(&lives);
            let most = (0..12)
                .map(|t| lives.iter().filter(|l| l.time.contains(&t)).map(|l| room(l.len)).sum::<usize>());
            assert!(total >= most.max().unwrap_or(0));
            for i in 0..lives.len() {
                assert!(places[i] + lives[i].len <= total);
                for j in 0..i {
                    let meet = lives[i].time.start() <= lives[j].time.end()
                        && lives[j].time.start() <= lives[i].time.end();
                    let apart =
                        places[i] + lives[i].len <= places[j] || places[j] + lives[j].len <= places[i];
                    assert!(!meet || apart || lives[i].len == 0 || lives[j].len == 0);
                }
            }
        }
    }
}
