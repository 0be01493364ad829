//! Parses expressions, with jinja2's precedences.

use super::ast::{Args, Comparison, Expr, ExprKind, Literal, Operator};
use super::error::{Res, error};
use super::lexer::Token;
use super::parser::Parser;
use std::sync::Arc;

fn expr_at(line: u32, kind: ExprKind) -> Expr {
    Expr { line, kind }
}

/// Levels of binary operators, loosest first.
const OR: u8 = 0;
const AND: u8 = 1;
const NOT: u8 = 2;
const COMPARE: u8 = 3;
const SUM: u8 = 4;
const CONCAT: u8 = 5;
const PRODUCT: u8 = 6;
const POWER: u8 = 7;

impl Parser {
    pub(super) fn expression(&mut self) -> Res<Expr> {
        self.nested(Self::condition_expression)
    }

    fn condition_expression(&mut self) -> Res<Expr> {
        let mut value = self.binary(OR)?;
        loop {
            let line = self.line();
            if !self.skip_word("if") {
                return Ok(value);
            }
            let test = self.binary(OR)?;
            let otherwise =
                if self.skip_word("else") { Some(Box::new(self.expression()?)) } else { None };
            value = expr_at(line, ExprKind::Condition(Box::new(value), Box::new(test), otherwise));
        }
    }

    /// Parses an expression or a tuple. Without parentheses it must not be empty.
    pub(super) fn tuple(&mut self, conditions: bool, ends: &[&str]) -> Res<Expr> {
        self.tuple_items(conditions, ends, false)
    }

    fn tuple_items(&mut self, conditions: bool, ends: &[&str], parenthesised: bool) -> Res<Expr> {
        let line = self.line();
        let mut items = Vec::new();
        let mut tuple = false;
        loop {
            let end = matches!(self.peek(), Token::BlockEnd | Token::PrintEnd) || self.is_op(")");
            if end || ends.iter().any(|end| self.is_word(end)) {
                break;
            }
            items.push(if conditions {
                self.expression()?
            } else {
                self.nested(|p| p.binary(OR))?
            });
            if !self.skip_op(",") {
                break;
            }
            tuple = true;
        }
        if !tuple {
            if let Some(item) = items.pop() {
                return Ok(item);
            }
            if !parenthesised {
                return Err(self.unexpected("an expression"));
            }
        }
        Ok(expr_at(line, ExprKind::Tuple(items)))
    }

    /// The next token as an operator of a level.
    fn operator(&self, level: u8) -> Option<Operator> {
        let Token::Op(op) = self.peek() else {
            return None;
        };
        Some(match (level, *op) {
            (SUM, "+") => Operator::Add,
            (SUM, "-") => Operator::Sub,
            (PRODUCT, "*") => Operator::Mul,
            (PRODUCT, "/") => Operator::Div,
            (PRODUCT, "//") => Operator::FloorDiv,
            (PRODUCT, "%") => Operator::Mod,
            (POWER, "**") => Operator::Pow,
            _ => return None,
        })
    }

    fn binary(&mut self, level: u8) -> Res<Expr> {
        let line = self.line();
        if level == NOT {
            if self.skip_word("not") {
                let inner = self.nested(|p| p.binary(NOT))?;
                return Ok(expr_at(line, ExprKind::Not(Box::new(inner))));
            }
            return self.binary(COMPARE);
        }
        let tighter =
            |p: &mut Self| if level == POWER { p.unary(true) } else { p.binary(level + 1) };
        let mut left = tighter(self)?;
        match level {
            COMPARE => {
                let mut others = Vec::new();
                while let Some(comparison) = self.comparison() {
                    others.push((comparison, self.binary(SUM)?));
                }
                if !others.is_empty() {
                    left = expr_at(line, ExprKind::Compare(Box::new(left), others));
                }
            }
            CONCAT => {
                if self.is_op("~") {
                    let mut parts = vec![left];
                    while self.skip_op("~") {
                        parts.push(tighter(self)?);
                    }
                    left = expr_at(line, ExprKind::Concat(parts));
                }
            }
            OR | AND => {
                let word = if level == OR { "or" } else { "and" };
                let line = self.line();
                while self.skip_word(word) {
                    let (a, b) = (Box::new(left), Box::new(tighter(self)?));
                    left = expr_at(
                        line,
                        if level == OR { ExprKind::Or(a, b) } else { ExprKind::And(a, b) },
                    );
                }
            }
            _ => {
                while let Some(operator) = self.operator(level) {
                    let line = self.line();
                    self.next();
                    let right = tighter(self)?;
                    left =
                        expr_at(line, ExprKind::Binary(operator, Box::new(left), Box::new(right)));
                }
            }
        }
        Ok(left)
    }

    fn comparison(&mut self) -> Option<Comparison> {
        let comparison = match self.peek() {
            Token::Op("==") => Comparison::Eq,
            Token::Op("!=") => Comparison::Ne,
            Token::Op(">") => Comparison::Gt,
            Token::Op(">=") => Comparison::Ge,
            Token::Op("<") => Comparison::Lt,
            Token::Op("<=") => Comparison::Le,
            Token::Name(name) if &**name == "in" => Comparison::In,
            Token::Name(name)
                if &**name == "not"
                    && matches!(self.peek_second(), Token::Name(n) if &**n == "in") =>
            {
                self.next();
                Comparison::NotIn
            }
            _ => return None,
        };
        self.next();
        Some(comparison)
    }

    fn unary(&mut self, filters: bool) -> Res<Expr> {
        let line = self.line();
        let node = if self.skip_op("-") {
            let inner = self.nested(|p| p.unary(false))?;
            expr_at(line, ExprKind::Negative(Box::new(inner)))
        } else if self.skip_op("+") {
            let inner = self.nested(|p| p.unary(false))?;
            expr_at(line, ExprKind::Positive(Box::new(inner)))
        } else {
            self.primary()?
        };
        let mut node = self.postfix(node)?;
        if !filters {
            return Ok(node);
        }
        loop {
            node = if self.is_op("|") {
                self.filter(Some(node), false)?
            } else if self.skip_word("is") {
                self.test(node, line)?
            } else if self.is_op("(") {
                let args = self.args()?;
                expr_at(line, ExprKind::Call(Box::new(node), args))
            } else {
                return Ok(node);
            };
        }
    }

    fn primary(&mut self) -> Res<Expr> {
        let line = self.line();
        let literal = |literal| Ok(expr_at(line, ExprKind::Literal(literal)));
        match self.peek().clone() {
            Token::Name(name) => {
                self.next();
                match &*name {
                    "true" | "True" => literal(Literal::Bool(true)),
                    "false" | "False" => literal(Literal::Bool(false)),
                    "none" | "None" => literal(Literal::None),
                    _ => Ok(expr_at(line, ExprKind::Name(name))),
                }
            }
            Token::Str(text) => {
                self.next();
                let mut text = text;
                while let Token::Str(more) = self.peek() {
                    text = Arc::from(format!("{text}{more}"));
                    self.next();
                }
                literal(Literal::Str(text))
            }
            Token::Int(int) => {
                self.next();
                literal(Literal::Int(int))
            }
            Token::Float(float) => {
                self.next();
                literal(Literal::Float(float))
            }
            Token::Op("(") => {
                self.next();
                let inner = self.nested(|p| p.tuple_items(true, &[], true))?;
                self.expect_op(")")?;
                Ok(inner)
            }
            Token::Op("[") => {
                self.next();
                let mut items = Vec::new();
                while !self.is_op("]") {
                    if !items.is_empty() {
                        self.expect_op(",")?;
                        if self.is_op("]") {
                            break;
                        }
                    }
                    items.push(self.expression()?);
                }
                self.expect_op("]")?;
                Ok(expr_at(line, ExprKind::List(items)))
            }
            Token::Op("{") => {
                self.next();
                let mut items = Vec::new();
                while !self.is_op("}") {
                    if !items.is_empty() {
                        self.expect_op(",")?;
                        if self.is_op("}") {
                            break;
                        }
                    }
                    let key = self.expression()?;
                    self.expect_op(":")?;
                    items.push((key, self.expression()?));
                }
                self.expect_op("}")?;
                Ok(expr_at(line, ExprKind::Dict(items)))
            }
            _ => Err(self.unexpected("an expression")),
        }
    }

    fn postfix(&mut self, mut node: Expr) -> Res<Expr> {
        loop {
            let line = self.line();
            if self.skip_op(".") {
                node = match self.next() {
                    Token::Name(name) => expr_at(line, ExprKind::Attr(Box::new(node), name)),
                    Token::Int(int) => {
                        let index = expr_at(line, ExprKind::Literal(Literal::Int(int)));
                        expr_at(line, ExprKind::Item(Box::new(node), Box::new(index)))
                    }
                    _ => {
                        return Err(
                            error!(Syntax, "expected a name or number after the dot").at(line)
                        );
                    }
                };
            } else if self.skip_op("[") {
                let mut args = Vec::new();
                while !self.is_op("]") {
                    if !args.is_empty() {
                        self.expect_op(",")?;
                    }
                    args.push(self.subscript()?);
                }
                self.expect_op("]")?;
                let index = match args.len() {
                    1 => args.pop().ok_or_else(|| self.unexpected("an index"))?,
                    _ => expr_at(line, ExprKind::Tuple(args)),
                };
                node = expr_at(line, ExprKind::Item(Box::new(node), Box::new(index)));
            } else if self.is_op("(") {
                let args = self.args()?;
                node = expr_at(line, ExprKind::Call(Box::new(node), args));
            } else {
                return Ok(node);
            }
        }
    }

    fn subscript(&mut self) -> Res<Expr> {
        let line = self.line();
        let start = if self.is_op(":") { None } else { Some(self.expression()?) };
        if !self.skip_op(":") {
            return start.ok_or_else(|| self.unexpected("an index"));
        }
        let ends = |p: &Self| p.is_op("]") || p.is_op(",");
        let stop = if self.is_op(":") || ends(self) { None } else { Some(self.expression()?) };
        let step = if self.skip_op(":") && !ends(self) { Some(self.expression()?) } else { None };
        Ok(expr_at(line, ExprKind::Slice(Box::new([start, stop, step]))))
    }

    pub(super) fn args(&mut self) -> Res<Args> {
        let line = self.line();
        let mut args = Args::default();
        let invalid = || error!(Syntax, "the arguments of a call are in the wrong order").at(line);
        self.expect_op("(")?;
        let mut first = true;
        while !self.is_op(")") {
            if !std::mem::take(&mut first) {
                self.expect_op(",")?;
                if self.is_op(")") {
                    break;
                }
            }
            if self.skip_op("*") {
                if args.spread.is_some() || args.spread_named.is_some() {
                    return Err(invalid());
                }
                args.spread = Some(Box::new(self.expression()?));
            } else if self.skip_op("**") {
                if args.spread_named.is_some() {
                    return Err(invalid());
                }
                args.spread_named = Some(Box::new(self.expression()?));
            } else if matches!((self.peek(), self.peek_second()), (Token::Name(_), Token::Op("=")))
            {
                if args.spread_named.is_some() {
                    return Err(invalid());
                }
                let name = self.name()?;
                if args.named.iter().any(|(other, _)| *other == name) {
                    return Err(error!(Syntax, "the argument {name} is repeated").at(line));
                }
                self.next();
                args.named.push((name, self.expression()?));
            } else {
                if args.spread.is_some() || args.spread_named.is_some() || !args.named.is_empty() {
                    return Err(invalid());
                }
                args.positional.push(self.expression()?);
            }
        }
        self.expect_op(")")?;
        Ok(args)
    }

    fn dotted(&mut self) -> Res<Arc<str>> {
        let mut name = self.name()?;
        while self.skip_op(".") {
            name = Arc::from(format!("{name}.{}", self.name()?));
        }
        Ok(name)
    }

    /// Parses filters after `node`, or those of a `{% filter %}` tag, whose first has no bar.
    pub(super) fn filter(&mut self, mut node: Option<Expr>, mut inline: bool) -> Res<Expr> {
        loop {
            let line = self.line();
            if !std::mem::take(&mut inline) && !self.skip_op("|") {
                return node.ok_or_else(|| self.unexpected("a filter"));
            }
            let name = self.dotted()?;
            let args = if self.is_op("(") { self.args()? } else { Args::default() };
            node = Some(expr_at(line, ExprKind::Filter(node.map(Box::new), name, args)));
        }
    }

    /// Parses a test after its `is`.
    fn test(&mut self, node: Expr, line: u32) -> Res<Expr> {
        let negated = self.skip_word("not");
        let name = self.dotted()?;
        let mut args = Args::default();
        let begins = match self.peek() {
            Token::Name(word) => !["else", "or", "and"].contains(&&**word),
            Token::Str(_) | Token::Int(_) | Token::Float(_) | Token::Op("[" | "{") => true,
            _ => false,
        };
        if self.is_op("(") {
            args = self.args()?;
        } else if begins {
            if self.is_word("is") {
                return Err(error!(Syntax, "tests cannot be chained with is").at(line));
            }
            let arg = self.nested(Self::primary)?;
            args.positional.push(self.postfix(arg)?);
        }
        let test = expr_at(line, ExprKind::Test(Box::new(node), name, args));
        Ok(if negated { expr_at(line, ExprKind::Not(Box::new(test))) } else { test })
    }
}
