use lfm2_wgpu::kernels::Reduce;
use lfm2_wgpu::selftest::{Bias, Fill, NormCase, RouteCase, check_norm, check_route};
use proptest::prelude::*;
use proptest::sample::select;

use super::property;

fn widths() -> impl Strategy<Value = usize> {
    prop_oneof![
        select(vec![4usize, 8, 12, 28, 252, 256, 260, 508, 1024, 1028, 2048]),
        (1usize..130).prop_map(|n| 4 * n),
    ]
}

fn rows() -> impl Strategy<Value = usize> {
    prop_oneof![select(vec![1usize, 2, 63, 64, 65, 127, 129, 200]), 1usize..40]
}

fn norm_cases() -> impl Strategy<Value = NormCase> {
    let eps = select(vec![1e-5f32, 1e-6, 1e-12, 1.0]);
    let fill = prop_oneof![4 => select(Fill::ALL.to_vec()), 1 => Just(Fill::OneNan)];
    (rows(), widths(), any::<bool>(), eps, fill, any::<u64>()).prop_map(
        |(rows, hidden_size, logit_rows, eps, fill, seed)| NormCase {
            rows,
            hidden_size,
            logit_rows,
            eps,
            fill,
            seed,
        },
    )
}

#[test]
fn rms_norm_agrees_with_its_twin() {
    property(20..=80, norm_cases(), async |device, case| {
        let mut checks = Vec::new();
        for reduce in Reduce::available(device.caps()) {
            checks.push(check_norm(device, case, reduce).await?);
        }
        Ok(checks)
    });
}

/// With tree and subgroup, each row is a workgroup: these are the most of a grid's first dimension.
#[test]
fn rms_norm_takes_65_535_rows() {
    super::on_both(async |device| {
        let mut checks = Vec::new();
        for reduce in Reduce::available(device.caps()) {
            let case = NormCase {
                rows: 65_535,
                hidden_size: 4,
                logit_rows: false,
                eps: 1e-5,
                fill: Fill::Normal,
                seed: 1,
            };
            checks.push(check_norm(device, &case, reduce).await?);
        }
        Ok(checks)
    });
}

fn route_cases() -> impl Strategy<Value = RouteCase> {
    // Few pairs of experts and top_k, since each is a pipeline of its own.
    let routers =
        [(1, 1), (2, 1), (3, 2), (5, 5), (7, 3), (8, 8), (13, 4), (32, 4), (63, 6), (64, 8)];
    let routers = select(routers.to_vec());
    let bias = select(vec![Bias::Zero, Bias::Normal, Bias::Overwhelming]);
    let scaling = select(vec![1.0f32, 1.7, 2.5]);
    let twins = select(vec![0usize, 3, 200]);
    (
        (1usize..140, routers, any::<bool>()),
        (scaling, bias, twins, prop::bool::weighted(0.2), any::<u64>()),
    )
        .prop_map(
            |((rows, (experts, top_k), norm), (scaling, bias, twins, unlikely, seed))| RouteCase {
                rows,
                experts,
                top_k,
                norm_topk_prob: norm,
                routed_scaling_factor: scaling,
                bias,
                twins,
                unlikely,
                seed,
            },
        )
}

#[test]
fn route_agrees_with_its_twin() {
    property(16..=60, route_cases(), async |device, case| {
        Ok(vec![check_route(device, case).await?])
    });
}
