//! Depthwise convolutions, and separable ones: a depthwise op and a pointwise one after it.

use super::activation::Named;
use super::conv::{conv_ops, known_channels};
use super::{Layer, Op, Site, Size, WeightSpec, spatial, window_shape};
use crate::conv::Pass;
use crate::engine::spec::{DepthwiseSpec, Initializer, SeparableSpec};
use crate::error::{Error, Result};
use crate::geometry::{AXES, ConvGeometry, Padding, Window};
use crate::kernels::Element;

/// The depthwise part of a description, without bias and activation.
struct Channelwise {
    spec: DepthwiseSpec,
    rank: usize,
}

impl Channelwise {
    fn geometry(&self, input: &[usize]) -> Result<ConvGeometry> {
        let (sizes, channels) = input.split_at(self.rank);
        let c = channels[0];
        ConvGeometry::new(&self.spec.window(), sizes, c, self.outputs(c)?, c)?
            .with_mode(self.spec.padding_mode)
    }

    /// Output channels.
    fn outputs(&self, channels: usize) -> Result<usize> {
        channels
            .checked_mul(self.spec.depth_multiplier)
            .ok_or_else(|| Error::value("depth_multiplier", "a small number", self.spec.depth_multiplier))
    }

    fn sizes(&self, input: &[Size]) -> Result<Vec<Size>> {
        window_shape(&self.spec.window(), spatial(input, self.rank)?.0, Window::output)
    }

    fn kernel(&self, name: &'static str, channels: usize) -> WeightSpec {
        let mut shape = self.spec.kernel_size.clone();
        shape.extend([channels, self.spec.depth_multiplier]);
        WeightSpec::new(name, shape, &self.spec.depthwise_initializer)
    }

    fn bias(&self, channels: usize) -> Option<WeightSpec> {
        let initializer = &self.spec.bias_initializer;
        self.spec.use_bias.then(|| WeightSpec::new("bias", vec![channels], initializer))
    }
}

/// Sizes of a placed geometry's output.
fn output_shape(geometry: &ConvGeometry, rank: usize, channels: usize) -> Vec<usize> {
    geometry.axes[AXES - rank..].iter().map(|a| a.output).chain([channels]).collect()
}

/// The description of a depthwise convolution.
pub(super) struct Depthwise {
    each: Channelwise,
    activation: Named,
}

impl Depthwise {
    pub(super) fn new(spec: &DepthwiseSpec, rank: usize) -> Result<Self> {
        let activation = Named::parse(&spec.activation)?;
        Ok(Self { each: Channelwise { spec: spec.clone(), rank }, activation })
    }
}

impl<T: Element> Layer<T> for Depthwise {
    fn output_shape(&self, input: &[Size]) -> Result<Vec<Size>> {
        let (_, channels) = spatial(input, self.each.rank)?;
        let mut shape = self.each.sizes(input)?;
        shape.push(channels.map(|c| self.each.outputs(c)).transpose()?);
        Ok(shape)
    }

    fn weights(&self, input: &[Size]) -> Result<Vec<WeightSpec>> {
        let channels = known_channels(spatial(input, self.each.rank)?.1)?;
        let kernel = self.each.kernel("kernel", channels);
        Ok([kernel].into_iter().chain(self.each.bias(self.each.outputs(channels)?)).collect())
    }

    fn macs(&self, input: &[usize]) -> usize {
        self.each.geometry(input).map_or(0, |g| g.macs())
    }

    fn ops(&self, site: &Site<'_, T>) -> Result<Vec<Box<dyn Op<T>>>> {
        let geometry = self.each.geometry(site.input)?;
        let shape = output_shape(&geometry, self.each.rank, geometry.c_out);
        let weights = site.weights.to_vec();
        conv_ops(geometry, Pass::Forward, weights, (self.activation, &shape), site)
    }
}

/// The description of a separable convolution.
pub(super) struct Separable {
    each: Channelwise,
    filters: usize,
    pointwise: Initializer,
    activation: Named,
}

impl Separable {
    pub(super) fn new(spec: &SeparableSpec, rank: usize) -> Result<Self> {
        Ok(Self {
            activation: Named::parse(&spec.depthwise.activation)?,
            each: Channelwise { spec: spec.depthwise.clone(), rank },
            filters: spec.filters,
            pointwise: spec.pointwise_initializer.clone(),
        })
    }

    /// The second op after the first.
    fn mixing(&self, first: &ConvGeometry) -> Result<ConvGeometry> {
        let rank = self.each.rank;
        let ones = || vec![1; rank];
        let window = Window { kernel: ones(), stride: ones(), dilation: ones(), padding: Padding::VALID };
        let sizes = output_shape(first, rank, first.c_out);
        ConvGeometry::new(&window, &sizes[..rank], first.c_out, self.filters, 1)
    }
}

impl<T: Element> Layer<T> for Separable {
    fn output_shape(&self, input: &[Size]) -> Result<Vec<Size>> {
        let mut shape = self.each.sizes(input)?;
        shape.push(Some(self.filters));
        Ok(shape)
    }

    fn weights(&self, input: &[Size]) -> Result<Vec<WeightSpec>> {
        let channels = known_channels(spatial(input, self.each.rank)?.1)?;
        let mut shape = vec![1; self.each.rank];
        shape.extend([self.each.outputs(channels)?, self.filters]);
        let mixing = WeightSpec::new("pointwise_kernel", shape, &self.pointwise);
        let first = self.each.kernel("depthwise_kernel", channels);
        Ok([first, mixing].into_iter().chain(self.each.bias(self.filters)).collect())
    }

    fn macs(&self, input: &[usize]) -> usize {
        let both = |first: ConvGeometry| Ok(first.macs().saturating_add(self.mixing(&first)?.macs()));
        self.each.geometry(input).and_then(both).unwrap_or(0)
    }

    fn ops(&self, site: &Site<'_, T>) -> Result<Vec<Box<dyn Op<T>>>> {
        let first = self.each.geometry(site.input)?;
        let second = self.mixing(&first)?;
        let (own, rest) = (site.weights[..1].to_vec(), site.weights[1..].to_vec());
        let linear = (Named::parse("linear")?, &[][..]);
        let shape = output_shape(&first, self.each.rank, self.filters);
        let mut ops = conv_ops(first, Pass::Forward, own, linear, site)?;
        let finish = (self.activation, &shape[..]);
        ops.extend(conv_ops(second, Pass::Forward, rest, finish, site)?);
        Ok(ops)
    }
}
