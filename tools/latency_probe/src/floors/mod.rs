//! What the box can do at best, measured beside the figures in the same run.

pub(crate) mod flush;
pub(crate) mod load;
pub(crate) mod wire;
