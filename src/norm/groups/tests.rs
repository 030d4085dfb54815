//! The quick layouts against the list of elements, to the byte.

use super::*;
use crate::rng::{Purpose, Stream};

/// Shape of a sample, and of each axis whether it is inside a group and whether it is weighed.
type Case = (Vec<usize>, Vec<bool>, Vec<bool>);

/// A group normalisation of the last axis, as the layer describes it.
fn group(positions: &[usize], groups: usize, own: usize) -> Case {
    let rank = positions.len();
    let sizes = [positions, &[groups, own]].concat();
    let inside = (0..rank + 2).map(|axis| axis != rank).collect();
    (sizes, inside, (0..rank + 2).map(|axis| axis >= rank).collect())
}

/// A layer normalisation.
fn layer(sizes: &[usize], axes: &[usize]) -> Case {
    let named: Vec<bool> = (0..sizes.len()).map(|axis| axes.contains(&axis)).collect();
    (sizes.to_vec(), named.clone(), named)
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    // Elements of a group at a position that divide the chains, are a multiple of them, or neither; more than a block.
    for own in [1, 2, 3, 4, 5, 8, 12, 16, 24, 32, 48, 64, 65, 80, 128, 129, 300] {
        for groups in [1, 2, 3, 5] {
            for positions in [&[][..], &[2], &[7], &[3, 5], &[37], &[4, 3, 5]] {
                cases.push(group(positions, groups, own));
            }
        }
    }
    cases.extend(
        [1, 16, 31, 32, 63, 64, 65, 70, 127, 128, 129, 130, 256, 272]
            .map(|channels| group(&[9, 5], channels, 1)),
    );
    cases.extend(
        [1, 3, 16, 17, 40, 64, 96, 127, 128, 129, 255, 256, 257, 600]
            .map(|channels| layer(&[19, channels], &[1])),
    );
    cases.extend([layer(&[4, 5, 6], &[0, 1, 2]), layer(&[4, 5, 6], &[1, 2]), layer(&[4, 5, 6], &[2])]);
    cases
}

/// Those that are left to the list.
fn others() -> Vec<Case> {
    let mut cases = vec![layer(&[4, 5, 6], &[0]), layer(&[4, 5, 6], &[1]), layer(&[4, 5, 6], &[0, 2])];
    // Channels that are not the last axis.
    let axes = |of: [u8; 4]| of.map(|flag| flag == 1).to_vec();
    cases.push((vec![2, 3, 4, 5], axes([0, 1, 1, 1]), axes([1, 1, 0, 0])));
    cases
}

fn values<T: Element>(len: usize, seed: u32) -> Vec<T> {
    let stream = Stream::new(7, Purpose::Dropout, 0, seed);
    let word = |i: usize| f64::from(stream.block(i as u64 / 4)[i % 4]) / f64::from(u32::MAX);
    (0..len).map(|i| T::from_f64(word(i) * 3.0 - 1.0)).collect()
}

/// Everything that comes of both passes.
fn results<T: Element>(groups: &Groups, tier: Tier, (len, weights): (usize, usize), case: u32) -> Vec<u64> {
    let (keeps, relu, wants_dx) = (case & 1 == 0, case & 2 == 0, case & 4 == 0);
    let (gamma, beta) = (values::<T>(weights, 1), values::<T>(weights, 2));
    let scaling = Scaling { epsilon: 1e-3, gamma: &gamma, beta: &beta, relu };
    let (x, mut dy) = (values::<T>(len, 3), values::<T>(len, 4));
    let (mut y, mut dx) = (vec![T::ZERO; len], vec![T::ONE; len]);
    let mut saved = vec![0; if keeps { groups.saved_len() } else { 0 }];
    let mut sums = [values::<T>(weights, 5), values::<T>(if case & 8 == 0 { weights } else { 0 }, 6)];
    groups.forward(tier, scaling, &x, &mut y, &mut saved);
    let [dgamma, dbeta] = &mut sums;
    let wanted = wants_dx.then_some(&mut dx[..]);
    let tensors = Backward { x: &x, saved: &saved, dy: &mut dy, dx: wanted, dgamma, dbeta };
    groups.backward(tier, scaling, tensors);
    let [dgamma, dbeta] = sums;
    [y, dx, dy, dgamma, dbeta].concat().into_iter().map(|value| value.to_f64().to_bits()).collect()
}

fn check<T: Element>() {
    for (number, (sizes, inside, weighed)) in cases().into_iter().enumerate() {
        let quick = Groups::laid_out(&sizes, &inside, &weighed).expect("a quick layout");
        let listed = Groups::listed(&sizes, &inside, &weighed);
        let of = |axes: &[bool]| (0..sizes.len()).filter(|&a| axes[a]).map(|a| sizes[a]).product::<usize>();
        let lens = (of(&vec![true; sizes.len()]), of(&weighed));
        for tier in Tier::available() {
            // Every case has another mixture of what is asked for.
            let case = number as u32;
            let expected = results::<T>(&listed, tier, lens, case);
            assert!(
                results::<T>(&quick, tier, lens, case) == expected,
                "{tier:?} {sizes:?} {inside:?} {case}"
            );
        }
    }
}

#[test]
fn layouts_give_the_bytes_of_the_list() {
    check::<f32>();
    check::<f64>();
}

#[test]
fn other_shapes_are_listed() {
    for (sizes, inside, weighed) in others() {
        assert_eq!(Groups::laid_out(&sizes, &inside, &weighed), None, "{sizes:?} {inside:?}");
    }
}
