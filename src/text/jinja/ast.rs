//! The syntax tree of a template.

use std::sync::Arc;

pub(super) type Name = Arc<str>;

/// A constant. Unlike values, constants can be shared between threads.
#[derive(Debug, Clone)]
pub(super) enum Literal {
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Str(Arc<str>),
}

#[derive(Debug)]
pub(super) struct Expr {
    pub line: u32,
    pub kind: ExprKind,
}

#[derive(Debug)]
pub(super) enum ExprKind {
    Literal(Literal),
    Name(Name),
    Tuple(Vec<Expr>),
    List(Vec<Expr>),
    Dict(Vec<(Expr, Expr)>),
    Attr(Box<Expr>, Name),
    Item(Box<Expr>, Box<Expr>),
    /// `start:stop:step` within brackets.
    Slice(Box<[Option<Expr>; 3]>),
    Call(Box<Expr>, Args),
    /// The operand is absent in `{% filter %}` and `{% set x | f %}`.
    Filter(Option<Box<Expr>>, Name, Args),
    Test(Box<Expr>, Name, Args),
    Binary(Operator, Box<Expr>, Box<Expr>),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    Not(Box<Expr>),
    Negative(Box<Expr>),
    Positive(Box<Expr>),
    Compare(Box<Expr>, Vec<(Comparison, Expr)>),
    Concat(Vec<Expr>),
    /// Value, condition and alternative.
    Condition(Box<Expr>, Box<Expr>, Option<Box<Expr>>),
    /// The function of `{% generation %}`.
    Generation,
}

#[derive(Debug, Default)]
pub(super) struct Args {
    pub positional: Vec<Expr>,
    pub named: Vec<(Name, Expr)>,
    /// `*args`
    pub spread: Option<Box<Expr>>,
    /// `**kwargs`
    pub spread_named: Option<Box<Expr>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Sub,
    Mul,
    Div,
    FloorDiv,
    Mod,
    Pow,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Eq,
    Ne,
    Gt,
    Ge,
    Lt,
    Le,
    In,
    NotIn,
}

/// The target of an assignment.
#[derive(Debug)]
pub(super) enum Target {
    Name(Name),
    /// An attribute of a namespace.
    Field(Name, Name),
    Tuple(Vec<Target>),
}

/// The initial value of a frame's variable (jinja2's idtracking).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Load {
    /// Set when the frame is entered.
    Parameter,
    /// Looked up among the template's variables.
    Resolve,
    /// A copy of the outer frame's variable.
    Alias,
    /// Missing until it is assigned.
    Undefined,
}

/// The variables of a frame with their initial values.
pub(super) type Loads = Vec<(Name, Load)>;

#[derive(Debug)]
pub(super) struct Stmt {
    pub line: u32,
    pub kind: StmtKind,
}

pub(super) type Body = Vec<Stmt>;

#[derive(Debug)]
pub(super) enum StmtKind {
    Text(Arc<str>),
    Print(Expr),
    Set(Target, Expr),
    SetBlock {
        target: Target,
        filter: Option<Expr>,
        body: Body,
        loads: Loads,
    },
    If {
        branches: Vec<(Expr, Body)>,
        otherwise: Body,
    },
    For(Arc<For>),
    Macro(Arc<Macro>),
    /// The call and its caller block.
    CallBlock(Expr, Arc<Macro>),
    FilterBlock {
        filter: Expr,
        body: Body,
        loads: Loads,
    },
    With {
        targets: Vec<(Target, Expr)>,
        body: Body,
        loads: Loads,
    },
    Autoescape {
        on: Expr,
        body: Body,
        loads: Loads,
    },
    Block {
        name: Name,
        scoped: bool,
        required: bool,
    },
    /// `include`, `import`, `from` or `extends`, which fail: there are no other templates.
    Loader(&'static str),
    Break,
    Continue,
}

#[derive(Debug)]
pub(super) struct For {
    pub target: Target,
    pub iter: Expr,
    pub test: Option<Expr>,
    pub recursive: bool,
    pub body: Body,
    pub otherwise: Body,
    pub loads: Loads,
    pub test_loads: Loads,
    pub else_loads: Loads,
    /// Whether the loop needs the variable `loop`.
    pub extended: bool,
}

#[derive(Debug)]
pub(super) struct Macro {
    pub name: Option<Name>,
    pub params: Vec<(Name, Option<Expr>)>,
    pub body: Body,
    pub loads: Loads,
    pub uses_caller: bool,
    pub uses_varargs: bool,
    pub uses_kwargs: bool,
}

/// A `{% block %}` with its frame.
#[derive(Debug)]
pub(super) struct Block {
    pub body: Body,
    pub loads: Loads,
}
