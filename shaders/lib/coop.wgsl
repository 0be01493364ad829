// Cooperative matrices of SIDE x SIDE, of f16 with sums in f32 (import coop, in matmul_coop). The
// adapter lists the size.

#part coop=side8
const SIDE = 8u;
alias coop_left = coop_mat8x8<f16, A>;
alias coop_right = coop_mat8x8<f16, B>;
alias coop_sums = coop_mat8x8<f32, C>;

#part coop=side16
const SIDE = 16u;
alias coop_left = coop_mat16x16<f16, A>;
alias coop_right = coop_mat16x16<f16, B>;
alias coop_sums = coop_mat16x16<f32, C>;
