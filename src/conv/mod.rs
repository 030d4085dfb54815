//! Convolution of one sample: forward, to the input, to the kernel and to the bias.
//!
//! There is one ordered list of algorithms; the first that accepts a pass of a geometry is planned, the last accepts
//! everything. A plan depends on the geometry, the user's choice of an [`Algorithm`] and the instruction set only.
//! Functional calls and the training step use the same plans, through the contract in `contract.rs`.

mod across;
mod algorithm;
mod blocked;
mod contract;
mod depthwise;
mod halo;
mod kernel_grad;
mod kn2col;
mod kn2row;
mod padding;
mod rows;
mod scratch;
mod tiles;
mod winograd;

pub use algorithm::Algorithm;
pub use blocked::add_column_sums;
use blocked::blocked;
use contract::Plan;
pub use contract::{
    Epilogue, Grad, GradOperands, GradPlan, KernelBlocks, Map, MapPlan, Operands, Part, Pass, Region, Sums,
    Tiling,
};
use kernel_grad::KernelGrad;
use rows::Rows;
pub use scratch::{Request, Scratch};

use crate::geometry::ConvGeometry;
use crate::kernels::{Element, Kernels};

/// What a plan depends on.
struct Problem<'a, T: 'static> {
    geometry: &'a ConvGeometry,
    kernels: &'static Kernels<T>,
    algorithm: Algorithm,
}

impl<T> Clone for Problem<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Problem<'_, T> {}

/// An algorithm: a plan for a pass, unless it does not accept the problem.
type Entry<T> = fn(Problem<'_, T>, Pass) -> Option<Plan<T>>;

/// The algorithms that know all borders, in the order in which they are asked.
fn any_border<T: Element>() -> [Entry<T>; 2] {
    [winograd::plan, padding::plan]
}

/// Those that know no other borders than zeros: they are asked next, where the borders are zeros or there are none.
fn zero_border<T: Element>() -> [Entry<T>; 5] {
    [depthwise::plan, kn2row::plan, kn2col::plan, across::plan, direct]
}

/// Sums of products, for everything.
fn direct<T: Element>(p: Problem<'_, T>, pass: Pass) -> Option<Plan<T>> {
    Some(match pass {
        Pass::Forward | Pass::InputGrad => Plan::of_map(Rows::new(p, pass)),
        Pass::KernelGrad => Plan::of_grad(KernelGrad::new(p)),
    })
}

/// All plans for a pass; the first is the one that runs.
fn plans<T: Element>(problem: Problem<'_, T>, pass: Pass) -> impl Iterator<Item = Plan<T>> {
    let zeros = !padding::accepts(problem.geometry);
    let rest = zero_border().into_iter().filter(move |_| zeros);
    any_border().into_iter().chain(rest).filter_map(move |entry| entry(problem, pass))
}

/// Every plan for a map, for tests and benches; the first is the one that runs.
pub fn map_plans<T: Element>(
    pass: Pass,
    geometry: &ConvGeometry,
    kernels: &'static Kernels<T>,
    algorithm: Algorithm,
) -> Vec<Map<T>> {
    plans(Problem { geometry, kernels, algorithm }, pass).filter_map(Plan::map).collect()
}

/// Every plan for the gradient to the kernel, for tests and benches; the first is the one that runs.
pub fn kernel_grad_plans<T: Element>(
    geometry: &ConvGeometry,
    kernels: &'static Kernels<T>,
    algorithm: Algorithm,
) -> Vec<Grad<T>> {
    let plans = plans(Problem { geometry, kernels, algorithm }, Pass::KernelGrad);
    plans.filter_map(Plan::grad).map(|plan| blocked(plan, kernels.tier)).collect()
}

/// Plans a map: the forward pass, or the gradient to the input, which is also the forward pass of the transposed
/// convolution.
///
/// # Panics
/// The pass is the gradient to the kernel, which is no map: see [`kernel_grad`].
pub fn map<T: Element>(
    pass: Pass,
    geometry: &ConvGeometry,
    kernels: &'static Kernels<T>,
    algorithm: Algorithm,
) -> Map<T> {
    let mut plans = plans(Problem { geometry, kernels, algorithm }, pass);
    plans.find_map(Plan::map).expect("the last algorithm accepts every map")
}

/// Plans the gradient to the kernel.
pub fn kernel_grad<T: Element>(
    geometry: &ConvGeometry,
    kernels: &'static Kernels<T>,
    algorithm: Algorithm,
) -> Grad<T> {
    let mut plans = plans(Problem { geometry, kernels, algorithm }, Pass::KernelGrad);
    let plan = plans.find_map(Plan::grad).expect("the last algorithm accepts everything");
    blocked(plan, kernels.tier)
}

/// Whether an algorithm can compute a convolution of this type at all, in every pass.
pub fn applies<T: Element>(geometry: &ConvGeometry, algorithm: Algorithm) -> bool {
    algorithm != Algorithm::Winograd || T::NAME == f32::NAME && winograd::form(geometry).is_some()
}
