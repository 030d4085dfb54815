//! Windows of any size on inputs of any size: an error, or axes whose arithmetic holds.

#![no_main]

use arbitrary::Arbitrary;
use gridnn::geometry::{Axis, ConvGeometry, Padding, PaddingRule, PoolGeometry, Window};
use libfuzzer_sys::fuzz_target;

/// Sizes that are small mostly, and absurd now and then.
#[derive(Arbitrary, Debug, Clone, Copy)]
enum Size {
    Small(u8),
    Any(usize),
    /// Close to a power of two.
    Edge {
        power: u8,
        below: bool,
    },
}

impl Size {
    fn get(self) -> usize {
        match self {
            Self::Small(n) => usize::from(n % 16),
            Self::Any(n) => n,
            Self::Edge { power, below } => (1usize << (power % 64)).wrapping_sub(usize::from(below)),
        }
    }
}

#[derive(Arbitrary, Debug)]
enum Pads {
    Valid,
    Same,
    Causal,
    Explicit(Vec<(Size, Size)>),
}

#[derive(Arbitrary, Debug)]
struct Case {
    axes: Vec<[Size; 4]>,
    pads: Pads,
    output_padding: Option<Vec<Size>>,
    c_in: Size,
    c_out: Size,
    groups: Size,
    ceil: bool,
}

fn check(axes: &[Axis]) {
    for axis in axes {
        assert!(axis.output > 0);
        // The last window begins and ends inside the padded input; nothing of this overflows.
        let last = (axis.output - 1).checked_mul(axis.stride).expect("the last window's place is a number");
        let padded = axis.input.checked_add(axis.before).and_then(|n| n.checked_add(axis.after));
        let padded = padded.expect("the padded size is a number");
        assert!(isize::try_from(padded).is_ok());
        assert!(last.checked_add(axis.span()).is_some());
    }
}

fuzz_target!(|case: Case| {
    let column = |i: usize| case.axes.iter().take(4).map(|axis| axis[i].get()).collect::<Vec<_>>();
    let input = column(0);
    let padding = match &case.pads {
        Pads::Valid => Padding::VALID,
        Pads::Same => Padding::SAME,
        Pads::Causal => Padding::Rule(PaddingRule::Causal),
        Pads::Explicit(pairs) => Padding::Explicit(pairs.iter().map(|(a, b)| (a.get(), b.get())).collect()),
    };
    let window = Window { kernel: column(1), stride: column(2), dilation: column(3), padding };
    let (c_in, c_out, groups) = (case.c_in.get(), case.c_out.get(), case.groups.get());
    if let Ok(geometry) = ConvGeometry::new(&window, &input, c_in, c_out, groups) {
        check(&geometry.axes);
        let _ = (geometry.macs(), geometry.input_len(), geometry.output_len(), geometry.kernel_len());
    }
    let extra: Option<Vec<usize>> =
        case.output_padding.as_ref().map(|list| list.iter().map(|n| n.get()).collect());
    if let Ok(geometry) =
        ConvGeometry::transposed(&window, extra.as_deref(), &input, (c_in, c_out), groups)
    {
        check(&geometry.axes);
    }
    if let Ok(geometry) = PoolGeometry::rounded(&window, case.ceil, &input, c_in) {
        assert!(geometry.axes.iter().all(|axis| axis.output > 0));
    }
});
