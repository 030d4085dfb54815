//! Where samples are cut: in a batch of few samples, the heavy ops.
//!
//! Such an op has phases of its own, whose tasks are parts of a sample; forward and to the input they have the bytes
//! of the whole. Its kernel gradient is cut by rows of the kernel, which need no adding up, and where there are too few
//! of them by positions, whose sums are added up in their order like those of other chunks.

use super::super::layers::{Op, SplitOp};
use crate::cuts::{self, EvenTasks};
use crate::kernels::Element;
use crate::tuning::step::{FEW_SAMPLES, SPLIT_MACS, SPLIT_SUM_PAYS, SPLIT_TASK_MACS};
use crate::tuning::{FEW_TASKS, TASKS};

/// How a sample of an op is cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) struct Split {
    /// The output and the gradient to the input.
    pub maps: [EvenTasks; 2],
    /// What the kernel gradient is a sum over, and the rows of the kernel.
    pub grad: [EvenTasks; 2],
    /// Place of the sums of all chunks' tasks but the first, if there are several.
    pub partials: usize,
}

impl Split {
    /// How an op is cut in a batch, if it is; `weights` are the elements of its gradient.
    pub(super) fn new<T: Element>(op: &dyn Op<T>, batch: usize, weights: usize) -> Option<Self> {
        let own: &dyn SplitOp<T> = op.split()?;
        let macs = own.macs();
        // Where all samples are worked on together, the weights are read for a few of them at a time.
        let together = op.batch().is_some_and(|op| op.maps_batch()) && batch > 1;
        if batch >= FEW_SAMPLES || macs < SPLIT_MACS || together {
            return None;
        }
        let wanted = (macs / SPLIT_TASK_MACS).clamp(1, TASKS.div_ceil(batch));
        let rows = EvenTasks::new((own.kernel_rows(), 1), wanted.min(cuts::kernel_tasks(own.kernel_rows())));
        let sum = own.grad_unit();
        let paying = sum.0 / (SPLIT_SUM_PAYS * weights.max(1));
        let sums = EvenTasks::new(sum, wanted.div_ceil(rows.count()).min(paying));
        let maps = own.units().map(|(len, unit, least)| {
            let most = (len.div_ceil(unit.max(1)) / least.max(1)).max(FEW_TASKS.div_ceil(batch.max(1)));
            EvenTasks::new((len, unit), wanted.min(most))
        });
        Some(Self { maps, grad: [sums, rows], partials: 0 })
    }

    /// Buffers that the kernel gradient of a chunk is summed in.
    pub fn sums(&self) -> usize {
        self.grad[0].count()
    }

    /// Tasks of the kernel gradient of a chunk.
    pub fn grad_tasks(&self) -> usize {
        self.grad[0].count() * self.grad[1].count()
    }
}
