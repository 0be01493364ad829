// Cooperative matrices of 8 x 8: the adapter lists f16 x f16 + f32 of this size.
const SIDE = 8u;
alias coop_left = coop_mat8x8<f16, A>;
alias coop_right = coop_mat8x8<f16, B>;
alias coop_sums = coop_mat8x8<f32, C>;
