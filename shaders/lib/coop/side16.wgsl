// Cooperative matrices of 16 x 16: the adapter lists f16 x f16 + f32 of this size.
const SIDE = 16u;
alias coop_left = coop_mat16x16<f16, A>;
alias coop_right = coop_mat16x16<f16, B>;
alias coop_sums = coop_mat16x16<f32, C>;
