//! The gradient to a large kernel, block by block over a batch, against the sums of all channels and the reference.

mod common;

use common::{ConvCase, Problem, bits, check_close, relative_tolerance, uniform};
use gridnn::conv::{self, Algorithm, GradOperands, GradPlan, Region, Scratch, Sums};
use gridnn::geometry::PaddingMode;
use gridnn::kernels::{Element, Kernels, Tier};

/// Cases whose kernels are computed in blocks of 32 or 64 channels.
fn cases() -> Vec<ConvCase> {
    let case = |sizes: [usize; 2], kernel, c_in, c_out| ConvCase::new(&sizes, kernel, c_in, c_out);
    vec![
        case([4, 4], 3, 128, 64).same(),
        case([8, 8], 3, 96, 128).same(),
        case([8, 8], 3, 128, 128).same(),
        case([7, 10], 3, 128, 192).same(),
        case([10, 12], 3, 128, 256),
        case([8, 8], 3, 64, 256).same().mode(PaddingMode::Reflect),
        case([8, 6], 5, 64, 128).same(),
        case([8, 8], 3, 128, 192).same().dilation(&[2, 2]),
    ]
}

/// The gradient, block by block.
fn by_blocks<T: Element>(plan: &dyn GradPlan<T>, p: &Problem<T>) -> Vec<T> {
    let blocks = plan.blocks().expect("blocks");
    let (mut dkernel, mut scratch) = (vec![T::ZERO; p.kernel.len()], Scratch::default());
    let operands = GradOperands { x: &p.x, dy: &p.dy, non_temporal: false };
    for block in 0..blocks.count() {
        let mut gradient = vec![T::from_f64(7.0); blocks.block_len()];
        plan.block(operands, block, &mut gradient, &mut scratch);
        for (number, part) in gradient.chunks_exact(blocks.block[1]).enumerate() {
            let row = blocks.row(block, number);
            assert_eq!(blocks.at(row.start), (block, number));
            dkernel[row].copy_from_slice(part);
        }
    }
    dkernel
}

fn plan(case: &ConvCase, tier: Tier) -> Box<dyn GradPlan<f32>> {
    conv::kernel_grad(&case.geometry(), Kernels::of(tier), Algorithm::Auto)
}

/// Where no tile is out of proportion the chains are those of the sums of all channels, and the same on every fused tier.
#[test]
fn blocks_have_the_bits_of_the_whole() {
    for mut case in cases() {
        case.samples = 3;
        let p = Problem::<f32>::new(&case, uniform);
        let mut fused = None;
        for tier in Tier::available() {
            let plan = plan(&case, tier);
            let found = by_blocks(&*plan, &p);
            let mut sums = vec![0.0; plan.tiling().weights];
            let operands = GradOperands { x: &p.x, dy: &p.dy, non_temporal: false };
            let units = 0..plan.tiling().weight_units();
            let whole = Sums { sums: &mut sums, units, from_zero: true };
            plan.accumulate(operands, &Region::Samples(3), whole, &mut Scratch::default());
            plan.finish(&mut sums);
            assert_eq!(bits(&found), bits(&sums[..found.len()]), "{case:?} on {tier:?}");
            if tier.fused() {
                assert_eq!(fused.get_or_insert_with(|| bits(&found)), &bits(&found), "{case:?} on {tier:?}");
            }
        }
    }
}

/// One huge value: its tile is computed directly, so that what other channels get is as exact as without it.
#[test]
fn a_huge_value_costs_other_channels_nothing() {
    for case in cases() {
        let mut p = Problem::<f32>::new(&case, uniform);
        p.x[0] = 1e12;
        let [.., expected] = p.expected();
        let [.., magnitudes] = p.magnitudes().expected();
        let tier = Tier::available()[0];
        let found = by_blocks(&*plan(&case, tier), &p);
        // Roundings of the transforms, and what the matrices amplify: see tests/winograd_outliers.rs.
        let relative = 64.0 * relative_tolerance::<f32>(tier, p.terms()[2]);
        let channels = |values: &[f64]| -> Vec<f64> {
            let (c_in, c_out) = (p.geometry.c_in, p.geometry.c_out);
            let others = values.chunks_exact(c_out).enumerate().filter(|(row, _)| row % c_in != 0);
            others.flat_map(|(_, row)| row.to_vec()).collect()
        };
        let found: Vec<f64> = channels(&found.iter().map(|&v| f64::from(v)).collect::<Vec<_>>());
        let most = channels(&magnitudes).into_iter().fold(0.0, f64::max);
        check_close(&found, &channels(&expected), &vec![most; found.len()], relative)
            .unwrap_or_else(|error| panic!("{case:?}: {error}"));
    }
}

/// Blocks are the tasks of a step: 64 x 64 channels, and narrower where those would be few.
#[test]
fn there_are_blocks_for_some_threads() {
    let blocks = |c_in, c_out| {
        let case = ConvCase::new(&[4, 4], 3, c_in, c_out).same();
        let found = plan(&case, Tier::available()[0]).blocks().expect("blocks");
        (found.block, found.count())
    };
    assert_eq!(blocks(128, 128), ([64, 32], 8));
    assert_eq!(blocks(128, 256), ([64, 64], 8));
    assert_eq!(blocks(512, 512), ([64, 64], 64));
    assert_eq!(blocks(64, 256), ([32, 64], 8));
}

/// Few weights beside the map, channels that do not fall into blocks, and series stay with sums by sample.
#[test]
fn others_have_no_blocks() {
    let case = |sizes: [usize; 2], kernel, c_in, c_out| ConvCase::new(&sizes, kernel, c_in, c_out).same();
    for case in [
        case([64, 64], 3, 64, 64),
        case([8, 8], 3, 100, 128),
        case([2, 2], 3, 256, 256),
        case([8, 8], 1, 512, 512),
        case([8, 8], 3, 256, 256).stride(&[2, 2]),
        ConvCase::new(&[40], 3, 512, 512).same(),
    ] {
        assert!(plan(&case, Tier::available()[0]).blocks().is_none(), "{case:?}");
    }
}
