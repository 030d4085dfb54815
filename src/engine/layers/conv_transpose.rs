//! Transposed convolutions of every rank: the gradient of a convolution to its input, used forward.

use super::activation::Named;
use super::conv::{conv_ops, known_channels};
use super::{Layer, Op, Site, Size, WeightSpec, known, spatial, window_shape};
use crate::conv::Pass;
use crate::engine::spec::TransposedSpec;
use crate::error::{Error, Result};
use crate::geometry::{AXES, ConvGeometry, Window};
use crate::kernels::Element;

/// The description.
pub(super) struct Transposed {
    spec: TransposedSpec,
    rank: usize,
    activation: Named,
}

impl Transposed {
    pub(super) fn new(spec: &TransposedSpec, rank: usize) -> Result<Self> {
        if let Some(list) = spec.output_padding.as_ref().filter(|list| list.len() != rank) {
            let got = format!("{list:?}");
            return Err(Error::value("output_padding", format!("{rank} integers"), got));
        }
        Ok(Self { spec: spec.clone(), rank, activation: Named::parse(&spec.activation)? })
    }

    /// The convolution that goes the other way.
    fn geometry(&self, input: &[usize]) -> Result<ConvGeometry> {
        let (sizes, channels) = input.split_at(self.rank);
        let extra = self.spec.output_padding.as_deref();
        let channels = (channels[0], self.spec.filters);
        ConvGeometry::transposed(&self.spec.window(), extra, sizes, channels, self.spec.groups)
    }
}

impl<T: Element> Layer<T> for Transposed {
    fn output_shape(&self, input: &[Size]) -> Result<Vec<Size>> {
        let (sizes, _) = spatial(input, self.rank)?;
        let window = self.spec.window();
        let mut shape = Vec::with_capacity(input.len());
        for axis in 0..self.rank {
            let extra = self.spec.output_padding.as_ref().map(|list| &list[axis..=axis]);
            let size = |window: &Window, n: usize| {
                window.place_transposed(extra, &[n]).map(|axes| axes[AXES - 1].input)
            };
            let alone: Vec<Size> = sizes.iter().enumerate().map(|(i, n)| n.filter(|_| i == axis)).collect();
            shape.push(window_shape(&window, &alone, size)?[axis]);
        }
        shape.push(Some(self.spec.filters));
        Ok(shape)
    }

    fn weights(&self, input: &[Size]) -> Result<Vec<WeightSpec>> {
        let (_, channels) = spatial(input, self.rank)?;
        let channels = known_channels(channels)?;
        let (groups, filters) = (self.spec.groups, self.spec.filters);
        if groups == 0 || channels % groups != 0 || filters % groups != 0 {
            return Err(Error::shape("input channels", format!("a multiple of groups={groups}"), channels));
        }
        let mut shape = self.spec.kernel_size.clone();
        shape.extend([filters / groups, channels]);
        let mut weights = vec![WeightSpec::new("kernel", shape, &self.spec.kernel_initializer)];
        if self.spec.use_bias {
            weights.push(WeightSpec::new("bias", vec![filters], &self.spec.bias_initializer));
        }
        Ok(weights)
    }

    fn macs(&self, input: &[usize]) -> usize {
        self.geometry(input).map_or(0, |g| g.macs())
    }

    fn ops(&self, site: &Site<'_, T>) -> Result<Vec<Box<dyn Op<T>>>> {
        let geometry = self.geometry(site.input)?;
        let sizes: Vec<Size> = site.input.iter().map(|&n| Some(n)).collect();
        let shape = known(&Layer::<T>::output_shape(self, &sizes)?).unwrap_or_default();
        let weights = site.weights.to_vec();
        conv_ops(geometry, Pass::InputGrad, weights, (self.activation, &shape), site)
    }
}
