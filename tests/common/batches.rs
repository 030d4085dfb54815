//! Convolution problems as functional calls take them.

use gridnn::conv::Algorithm;
use gridnn::error::Error;
use gridnn::ops::conv::{ConvBatch, ConvKind, ConvOptions};

use super::ConvCase;

impl ConvCase {
    /// Shape of the input of all samples.
    pub fn input_shape(&self) -> Vec<usize> {
        [self.samples].into_iter().chain(self.input.iter().copied()).chain([self.channels()[0]]).collect()
    }

    /// The options of a functional call.
    pub fn options(&self, algorithm: Option<Algorithm>) -> ConvOptions {
        ConvOptions {
            strides: self.stride.clone(),
            padding: self.padding.clone(),
            padding_mode: self.mode,
            dilation_rate: self.dilation.clone(),
            groups: self.groups,
            output_padding: None,
            algorithm,
        }
    }

    /// What a functional call is about.
    pub fn batch(&self, kind: ConvKind, algorithm: Option<Algorithm>) -> Result<ConvBatch, Error> {
        let [c_in, c_out] = self.channels();
        let (tail, groups) = match kind {
            ConvKind::Plain => ([self.group_in, c_out], self.groups),
            ConvKind::Depthwise => ([c_in, self.group_out], 1),
            ConvKind::Transposed => ([self.group_out, c_in], self.groups),
        };
        let kernel: Vec<usize> = self.kernel.iter().copied().chain(tail).collect();
        ConvBatch::new(kind, &self.input_shape(), &kernel, &ConvOptions { groups, ..self.options(algorithm) })
    }
}
