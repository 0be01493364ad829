//! Helpers of all dispatches: grids and parameters.

/// Workgroups in x and y for `n` workgroups in all, each dimension at most 65,535.
pub(crate) fn fold(n: u32) -> (u32, u32) {
    const MOST: u32 = 65_535;
    if n <= MOST {
        return (n, 1);
    }
    let y = n.div_ceil(MOST);
    (n.div_ceil(y), y)
}

/// The bytes of a kernel's parameters.
pub(crate) fn bytes_of<T: bytemuck::Pod>(params: &T) -> Vec<u8> {
    bytemuck::bytes_of(params).to_vec()
}
