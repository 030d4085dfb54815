//! Normalisation inside a sample: over axes (layer normalisation; Ba, Kiros and Hinton 2016, arXiv 1607.06450) or over
//! groups of channels and the whole grid (group normalisation; Wu and He 2018, arXiv 1803.08494).

use std::ops::Range;

use super::{Backward, Context, Keeps, Layer, Op, Ranges, Site, Size, WeightSpec, known};
use crate::conv::Scratch;
use crate::engine::spec::{GroupNormSpec, LayerNormSpec, ScaleSpec};
use crate::error::{Error, Result};
use crate::kernels::{Element, Tier};
use crate::memory;
use crate::norm::{self, Groups, Scaling};

/// The description of either.
pub(super) struct SampleNorm {
    /// Axes that are normalised over, or the one of the channels.
    axes: Vec<isize>,
    /// Number of groups that channels are cut into; -1 is one each. None for a layer normalisation.
    groups: Option<isize>,
    scale: ScaleSpec,
}

impl SampleNorm {
    pub(super) fn layer(spec: &LayerNormSpec) -> Self {
        Self { axes: spec.axis.clone(), groups: None, scale: spec.scaling.clone() }
    }

    pub(super) fn group(spec: &GroupNormSpec) -> Self {
        Self { axes: vec![spec.axis], groups: Some(spec.groups), scale: spec.scaling.clone() }
    }

    /// Which axes of a sample are named; counted from the end, or from the batch, axis 0.
    fn named(&self, rank: usize) -> Result<Vec<bool>> {
        let mut named = vec![false; rank];
        for &axis in &self.axes {
            let at = if axis < 0 { axis + rank as isize } else { axis - 1 };
            let at = usize::try_from(at).ok().filter(|&at| at < rank && !named[at]).ok_or_else(|| {
                let expected = format!("different axes from 1 to {rank} or -{rank} to -1 (0 is the batch)");
                Error::value("axis", expected, format!("{:?}", self.axes))
            })?;
            named[at] = true;
        }
        Ok(named)
    }

    /// Sizes of the named axes.
    fn shape(&self, input: &[Size]) -> Result<Vec<usize>> {
        let named = self.named(input.len())?;
        let sizes: Vec<Size> = input.iter().zip(named).filter(|(_, named)| *named).map(|(n, _)| *n).collect();
        let sizes = known(&sizes).filter(|sizes| !sizes.contains(&0));
        sizes.ok_or_else(|| Error::shape("normalised axes", "known positive sizes", "None"))
    }

    /// Channels of a group.
    fn channels(&self, all: usize, groups: isize) -> Result<usize> {
        let groups = if groups == -1 { all } else { groups.max(0) as usize };
        if groups == 0 || !all.is_multiple_of(groups) {
            let expected = format!("channels that groups={groups} divides");
            return Err(Error::shape("input channels", expected, all));
        }
        Ok(all / groups)
    }

    fn plan(&self, input: &[usize]) -> Result<Groups> {
        let named = self.named(input.len())?;
        let Some(groups) = self.groups else {
            return Ok(Groups::new(input, &named, &named));
        };
        // The axis of the channels as two: groups, and channels of a group.
        let at = named.iter().position(|&named| named).unwrap_or(0);
        let own = self.channels(input[at], groups)?;
        let mut sizes = input.to_vec();
        sizes.splice(at..=at, [input[at] / own, own]);
        let axes = 0..sizes.len();
        let inside: Vec<bool> = axes.clone().map(|axis| axis != at).collect();
        let weighed: Vec<bool> = axes.map(|axis| axis == at || axis == at + 1).collect();
        Ok(Groups::new(&sizes, &inside, &weighed))
    }
}

impl<T: Element> Layer<T> for SampleNorm {
    fn output_shape(&self, input: &[Size]) -> Result<Vec<Size>> {
        self.named(input.len())?;
        Ok(input.to_vec())
    }

    fn weights(&self, input: &[Size]) -> Result<Vec<WeightSpec>> {
        let shape = self.shape(input)?;
        if let (Some(groups), &[channels]) = (self.groups, &shape[..]) {
            self.channels(channels, groups)?;
        }
        let ScaleSpec { center, scale, gamma_initializer, beta_initializer, .. } = &self.scale;
        let gamma = scale.then(|| WeightSpec::new("gamma", shape.clone(), gamma_initializer));
        let beta = center.then(|| WeightSpec::new("beta", shape, beta_initializer));
        Ok(gamma.into_iter().chain(beta).collect())
    }

    fn ops(&self, site: &Site<'_, T>) -> Result<Vec<Box<dyn Op<T>>>> {
        let mut weights = site.weights.iter().cloned();
        let sizes: Vec<Size> = site.input.iter().copied().map(Some).collect();
        let without = |exists: bool, value: f64| -> Result<Vec<T>> {
            let len = if exists { 0 } else { self.shape(&sizes)?.iter().product() };
            memory::filled(T::from_f64(value), len)
        };
        let without = [without(self.scale.scale, 1.0)?, without(self.scale.center, -0.0)?];
        Ok(vec![Box::new(Normalize {
            groups: self.plan(site.input)?,
            len: site.input.iter().product(),
            weights: site.weights.to_vec(),
            gamma: if self.scale.scale { weights.next() } else { None },
            beta: if self.scale.center { weights.next() } else { None },
            without,
            epsilon: self.scale.epsilon,
            relu: false,
            tier: site.kernels.tier,
        })])
    }
}

struct Normalize<T> {
    groups: Groups,
    /// Elements of a sample.
    len: usize,
    weights: Vec<Range<usize>>,
    gamma: Option<Range<usize>>,
    beta: Option<Range<usize>>,
    /// What stands for either where it is missing.
    without: [Vec<T>; 2],
    epsilon: f64,
    relu: bool,
    tier: Tier,
}

impl<T: Element> Normalize<T> {
    fn scaling<'a>(&'a self, params: &'a [T]) -> Scaling<'a, T> {
        let [gamma, beta] = [(&self.gamma, &self.without[0]), (&self.beta, &self.without[1])]
            .map(|(range, without)| range.as_ref().map_or(&without[..], |range| &params[range.clone()]));
        Scaling { epsilon: self.epsilon, gamma, beta, relu: self.relu }
    }
}

impl<T: Element> Op<T> for Normalize<T> {
    fn output_len(&self) -> usize {
        self.len
    }

    fn keeps(&self) -> Keeps {
        Keeps { input: true, output: false, saved: self.groups.saved_len() }
    }

    fn weights(&self) -> &Ranges {
        &self.weights
    }

    fn take_relu(&mut self) -> bool {
        self.relu = true;
        true
    }

    fn forward(&self, cx: &Context<'_, T>, x: &[&[T]], y: &mut [T], saved: &mut [u8], _: &mut Scratch<T>) {
        let scaling = self.scaling(cx.params);
        let each = if saved.is_empty() { 0 } else { self.groups.saved_len() };
        for (i, (x, y)) in x[0].chunks_exact(self.len).zip(y.chunks_exact_mut(self.len)).enumerate() {
            self.groups.forward(self.tier, scaling, x, y, &mut saved[i * each..(i + 1) * each]);
        }
    }

    fn backward(&self, cx: &Context<'_, T>, tensors: Backward<'_, '_, T>, _: &mut Scratch<T>) {
        let Backward { x, saved, dy, dx: [dx], grads, .. } = tensors else { return };
        let scaling = self.scaling(cx.params);
        let each = if saved.is_empty() { 0 } else { self.groups.saved_len() };
        let (dgamma, dbeta) = grads.split_at_mut(self.gamma.as_ref().map_or(0, Range::len));
        for (i, (x, dy)) in x[0].chunks_exact(self.len).zip(dy.chunks_exact_mut(self.len)).enumerate() {
            let dx = dx.as_deref_mut().map(|dx| &mut dx[i * self.len..(i + 1) * self.len]);
            let (dgamma, dbeta) = (&mut *dgamma, &mut *dbeta);
            let saved = &saved[i * each..(i + 1) * each];
            self.groups.backward(self.tier, scaling, norm::Backward { x, saved, dy, dx, dgamma, dbeta });
        }
    }
}
