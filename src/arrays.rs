//! Arrays as they are in memory, of any of the types that are read in place.

/// A C-contiguous array of a type we read in place.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the names are NumPy's")]
pub enum Values<'a> {
    U8(&'a [u8]),
    I8(&'a [i8]),
    U16(&'a [u16]),
    I16(&'a [i16]),
    U32(&'a [u32]),
    I32(&'a [i32]),
    U64(&'a [u64]),
    I64(&'a [i64]),
    F32(&'a [f32]),
    F64(&'a [f64]),
}

/// An array: its elements and its shape, the first axis counting samples.
#[derive(Debug, Clone)]
pub struct Source<'a> {
    /// The elements.
    pub values: Values<'a>,
    /// The shape.
    pub shape: Vec<usize>,
}

/// Does the same with the elements, whatever their type.
macro_rules! each {
    ($values:expr, $slice:ident => $body:expr) => {
        match $values {
            $crate::arrays::Values::U8($slice) => $body,
            $crate::arrays::Values::I8($slice) => $body,
            $crate::arrays::Values::U16($slice) => $body,
            $crate::arrays::Values::I16($slice) => $body,
            $crate::arrays::Values::U32($slice) => $body,
            $crate::arrays::Values::I32($slice) => $body,
            $crate::arrays::Values::U64($slice) => $body,
            $crate::arrays::Values::I64($slice) => $body,
            $crate::arrays::Values::F32($slice) => $body,
            $crate::arrays::Values::F64($slice) => $body,
        }
    };
}
pub(crate) use each;
