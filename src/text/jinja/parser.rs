//! Parses statements, as jinja2's parser with `loopcontrols` and `generation` does.

use super::ast::{Args, Body, Expr, ExprKind, For, Macro, Name, Stmt, StmtKind, Target};
use super::error::{Error, Res, error};
use super::lexer::{Token, tokenize};
use std::sync::Arc;

/// Maximum nesting of statements and expressions. The recursion fits a browser's stack.
const MAX_NESTING: usize = 90;
/// Maximum number of tokens in one tag, which bounds the length of a chain of operators.
const MAX_TAG_TOKENS: usize = 1_000;
/// Maximum number of `elif`s in one `if`.
const MAX_ELIFS: usize = 500;

/// A block's name and statements.
pub(super) type RawBlock = (Name, Body);

pub(super) struct Parser {
    tokens: Vec<(Token, u32)>,
    at: usize,
    nesting: usize,
    loops: usize,
    pub blocks: Vec<RawBlock>,
}

/// Parses a template. The frames' variables are still empty: `symbols` fills them in.
pub(super) fn parse(source: &str) -> Res<(Body, Vec<RawBlock>)> {
    let tokens = tokenize(source)?;
    check_tags(&tokens)?;
    let mut parser = Parser { tokens, at: 0, nesting: 0, loops: 0, blocks: Vec::new() };
    let body = parser.body(&[]).map_err(|e| e.at(parser.line()))?;
    Ok((body, parser.blocks))
}

fn check_tags(tokens: &[(Token, u32)]) -> Res<()> {
    let mut count = 0;
    for (token, line) in tokens {
        count = match token {
            Token::BlockBegin | Token::PrintBegin | Token::Data(_) => 0,
            _ => count + 1,
        };
        if count > MAX_TAG_TOKENS {
            return Err(error!(Limit, "a tag has more than {MAX_TAG_TOKENS} words").at(*line));
        }
    }
    Ok(())
}

impl Parser {
    pub(super) fn line(&self) -> u32 {
        self.tokens.get(self.at).or(self.tokens.last()).map_or(1, |t| t.1)
    }

    pub(super) fn peek(&self) -> &Token {
        self.tokens.get(self.at).map_or(&Token::End, |t| &t.0)
    }

    pub(super) fn peek_second(&self) -> &Token {
        self.tokens.get(self.at + 1).map_or(&Token::End, |t| &t.0)
    }

    pub(super) fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    pub(super) fn is_op(&self, op: &str) -> bool {
        matches!(self.peek(), Token::Op(found) if *found == op)
    }

    pub(super) fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Token::Name(found) if &**found == word)
    }

    pub(super) fn skip_op(&mut self, op: &str) -> bool {
        let found = self.is_op(op);
        self.at += usize::from(found);
        found
    }

    pub(super) fn skip_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect_op(&mut self, op: &str) -> Res<()> {
        if self.skip_op(op) { Ok(()) } else { Err(self.unexpected(op)) }
    }

    fn expect_word(&mut self, word: &str) -> Res<()> {
        if self.skip_word(word) { Ok(()) } else { Err(self.unexpected(word)) }
    }

    fn expect_block_end(&mut self) -> Res<()> {
        match self.peek() {
            Token::BlockEnd => {
                self.at += 1;
                Ok(())
            }
            _ => Err(self.unexpected("%}")),
        }
    }

    pub(super) fn name(&mut self) -> Res<Name> {
        match self.peek() {
            Token::Name(name) => {
                let name = Arc::clone(name);
                self.at += 1;
                Ok(name)
            }
            _ => Err(self.unexpected("a name")),
        }
    }

    pub(super) fn unexpected(&self, expected: &str) -> Error {
        let found = match self.peek() {
            Token::Data(_) => "text".to_owned(),
            Token::BlockBegin => "{%".to_owned(),
            Token::BlockEnd => "%}".to_owned(),
            Token::PrintBegin => "{{".to_owned(),
            Token::PrintEnd => "}}".to_owned(),
            Token::Name(name) => name.to_string(),
            Token::Str(text) => format!("{text:?}"),
            Token::Int(int) => int.to_string(),
            Token::Float(float) => float.to_string(),
            Token::Op(op) => (*op).to_owned(),
            Token::End => "the end of the template".to_owned(),
        };
        error!(Syntax, "expected {expected}, found {found}").at(self.line())
    }

    /// Runs `parse` one level deeper.
    pub(super) fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Res<T>) -> Res<T> {
        if self.nesting >= MAX_NESTING {
            return Err(error!(Limit, "nested more than {MAX_NESTING} deep (recursion limit)")
                .at(self.line()));
        }
        self.nesting += 1;
        let parsed = parse(self);
        self.nesting -= 1;
        parsed
    }

    /// Parses statements up to a tag whose name is one of `ends`. That name is then the next token.
    fn body(&mut self, ends: &[&str]) -> Res<Body> {
        let mut body = Vec::new();
        loop {
            let line = self.line();
            match self.next() {
                Token::Data(text) => body.push(Stmt { line, kind: StmtKind::Text(text) }),
                Token::PrintBegin => {
                    let expr = self.tuple(true, &[])?;
                    let Token::PrintEnd = self.peek() else {
                        return Err(self.unexpected("}}"));
                    };
                    self.at += 1;
                    body.push(Stmt { line, kind: StmtKind::Print(expr) });
                }
                Token::BlockBegin => {
                    if ends.iter().any(|end| self.is_word(end)) {
                        return Ok(body);
                    }
                    self.nested(|p| p.statement(&mut body))?;
                    self.expect_block_end()?;
                }
                _ if ends.is_empty() => return Ok(body),
                _ => {
                    self.at -= 1;
                    let problem =
                        format!("unexpected end of the template, expected {}", ends.join(" or "));
                    return Err(error!(Syntax, "{problem}").at(line));
                }
            }
        }
    }

    /// Parses the end of a tag, and the statements up to one of `ends`.
    fn statements(&mut self, ends: &[&str]) -> Res<Body> {
        self.skip_op(":");
        self.expect_block_end()?;
        self.body(ends)
    }

    fn statements_to(&mut self, end: &str) -> Res<Body> {
        let body = self.statements(&[end])?;
        self.expect_word(end)?;
        Ok(body)
    }

    /// Parses statements that `break` cannot leave.
    fn closed(&mut self, end: &str) -> Res<Body> {
        let loops = std::mem::take(&mut self.loops);
        let body = self.statements_to(end);
        self.loops = loops;
        body
    }

    fn statement(&mut self, out: &mut Body) -> Res<()> {
        let line = self.line();
        let Token::Name(tag) = self.peek().clone() else {
            return Err(self.unexpected("a tag's name"));
        };
        self.at += 1;
        let kind = match &*tag {
            "for" => self.for_loop()?,
            "if" => self.condition()?,
            "set" => self.set()?,
            "macro" => self.macro_definition()?,
            "call" => self.call_block(line)?,
            "filter" => {
                let filter = self.filter(None, true)?;
                let body = self.statements_to("endfilter")?;
                StmtKind::FilterBlock { filter, body, loads: Vec::new() }
            }
            "with" => self.with()?,
            "autoescape" => {
                let on = self.expression()?;
                let body = self.statements_to("endautoescape")?;
                StmtKind::Autoescape { on, body, loads: Vec::new() }
            }
            "block" => self.block()?,
            "print" => {
                let mut first = true;
                while *self.peek() != Token::BlockEnd {
                    if !std::mem::take(&mut first) {
                        self.expect_op(",")?;
                    }
                    let expr = self.expression()?;
                    out.push(Stmt { line, kind: StmtKind::Print(expr) });
                }
                return Ok(());
            }
            "generation" => {
                let body = self.closed("endgeneration")?;
                let function = Expr { line, kind: ExprKind::Generation };
                let kind = ExprKind::Call(Box::new(function), Args::default());
                StmtKind::CallBlock(Expr { line, kind }, Arc::new(caller(Vec::new(), body)))
            }
            "break" | "continue" => {
                if self.loops == 0 {
                    return Err(error!(Syntax, "{tag} outside of a loop").at(line));
                }
                if &*tag == "break" { StmtKind::Break } else { StmtKind::Continue }
            }
            "include" | "import" | "extends" | "from" => self.loader(&tag)?,
            _ => return Err(error!(Syntax, "unknown tag {tag:?}").at(line)),
        };
        out.push(Stmt { line, kind });
        Ok(())
    }

    fn for_loop(&mut self) -> Res<StmtKind> {
        let target = self.target(false, &["in"])?;
        self.expect_word("in")?;
        let iter = self.tuple(false, &["recursive"])?;
        let test = if self.skip_word("if") { Some(self.expression()?) } else { None };
        let recursive = self.skip_word("recursive");
        self.loops += 1;
        let body = self.statements(&["endfor", "else"]);
        self.loops -= 1;
        let body = body?;
        let otherwise = match self.skip_word("endfor") {
            true => Vec::new(),
            false => {
                self.expect_word("else")?;
                self.statements_to("endfor")?
            }
        };
        let loads = Vec::new();
        let (test_loads, else_loads) = (Vec::new(), Vec::new());
        let extended = recursive;
        let node = For {
            target,
            iter,
            test,
            recursive,
            body,
            otherwise,
            loads,
            test_loads,
            else_loads,
            extended,
        };
        Ok(StmtKind::For(Arc::new(node)))
    }

    fn condition(&mut self) -> Res<StmtKind> {
        let mut branches = Vec::new();
        loop {
            let test = self.tuple(false, &[])?;
            branches.push((test, self.statements(&["elif", "else", "endif"])?));
            if branches.len() > MAX_ELIFS {
                return Err(
                    error!(Limit, "an if has more than {MAX_ELIFS} elif tags").at(self.line())
                );
            }
            if !self.skip_word("elif") {
                break;
            }
        }
        let otherwise = if self.skip_word("else") {
            self.statements_to("endif")?
        } else {
            self.expect_word("endif")?;
            Vec::new()
        };
        Ok(StmtKind::If { branches, otherwise })
    }

    fn set(&mut self) -> Res<StmtKind> {
        let target = self.target(true, &[])?;
        if self.skip_op("=") {
            return Ok(StmtKind::Set(target, self.tuple(true, &[])?));
        }
        let filter = match self.is_op("|") {
            true => Some(self.filter(None, false)?),
            false => None,
        };
        let body = self.statements_to("endset")?;
        Ok(StmtKind::SetBlock { target, filter, body, loads: Vec::new() })
    }

    fn signature(&mut self) -> Res<Vec<(Name, Option<Expr>)>> {
        self.expect_op("(")?;
        let mut params: Vec<(Name, Option<Expr>)> = Vec::new();
        while !self.is_op(")") {
            if !params.is_empty() {
                self.expect_op(",")?;
            }
            let name = self.assignable_name()?;
            if params.iter().any(|(other, _)| *other == name) {
                return Err(error!(Syntax, "two parameters are called {name:?}").at(self.line()));
            }
            let default = if self.skip_op("=") { Some(self.expression()?) } else { None };
            if default.is_none() && params.last().is_some_and(|(_, default)| default.is_some()) {
                return Err(error!(
                    Syntax,
                    "a parameter without a default follows one with a default"
                )
                .at(self.line()));
            }
            params.push((name, default));
        }
        self.expect_op(")")?;
        Ok(params)
    }

    fn macro_definition(&mut self) -> Res<StmtKind> {
        let name = self.assignable_name()?;
        let params = self.signature()?;
        let body = self.closed("endmacro")?;
        Ok(StmtKind::Macro(Arc::new(Macro { name: Some(name), ..caller(params, body) })))
    }

    fn call_block(&mut self, line: u32) -> Res<StmtKind> {
        let params = if self.is_op("(") { self.signature()? } else { Vec::new() };
        let call = self.expression()?;
        if !matches!(call.kind, ExprKind::Call(..)) {
            return Err(error!(Syntax, "expected a call").at(line));
        }
        let body = self.closed("endcall")?;
        Ok(StmtKind::CallBlock(call, Arc::new(caller(params, body))))
    }

    fn with(&mut self) -> Res<StmtKind> {
        let mut targets = Vec::new();
        while *self.peek() != Token::BlockEnd {
            if !targets.is_empty() {
                self.expect_op(",")?;
            }
            let target = self.target(false, &[])?;
            self.expect_op("=")?;
            targets.push((target, self.expression()?));
        }
        let body = self.statements_to("endwith")?;
        Ok(StmtKind::With { targets, body, loads: Vec::new() })
    }

    fn block(&mut self) -> Res<StmtKind> {
        let line = self.line();
        let name = self.name()?;
        let scoped = self.skip_word("scoped");
        let required = self.skip_word("required");
        let body = self.closed("endblock")?;
        self.skip_word(&name);
        let blank = |s: &Stmt| matches!(&s.kind, StmtKind::Text(t) if t.trim().is_empty());
        if required && !body.iter().all(blank) {
            return Err(error!(Syntax, "a required block can only hold white space").at(line));
        }
        if self.blocks.iter().any(|(other, _)| *other == name) {
            return Err(error!(Syntax, "block {name:?} defined twice").at(line));
        }
        self.blocks.push((Arc::clone(&name), body));
        Ok(StmtKind::Block { name, scoped, required })
    }

    /// Parses tags that load other templates. They fail when they run: there are none.
    fn loader(&mut self, tag: &str) -> Res<StmtKind> {
        self.expression()?;
        while *self.peek() != Token::BlockEnd {
            if *self.peek() == Token::End {
                return Err(self.unexpected("%}"));
            }
            self.at += 1;
        }
        Ok(StmtKind::Loader(match tag {
            "include" => "include",
            "extends" => "extends",
            _ => "import",
        }))
    }

    fn assignable_name(&mut self) -> Res<Name> {
        let line = self.line();
        let name = self.name()?;
        if ["true", "false", "none", "True", "False", "None"].contains(&&*name) {
            return Err(error!(Syntax, "cannot assign to {name}").at(line));
        }
        Ok(name)
    }

    /// Parses the target of `set`, `for` or `with`.
    fn target(&mut self, fields: bool, ends: &[&str]) -> Res<Target> {
        let mut targets = Vec::new();
        let mut tuple = false;
        loop {
            let end = matches!(self.peek(), Token::BlockEnd | Token::PrintEnd) || self.is_op(")");
            if end || ends.iter().any(|end| self.is_word(end)) {
                break;
            }
            targets.push(self.one_target(fields)?);
            if !self.skip_op(",") {
                break;
            }
            tuple = true;
        }
        match targets.len() {
            0 => Err(self.unexpected("a name")),
            1 if !tuple => targets.pop().ok_or_else(|| self.unexpected("a name")),
            _ => Ok(Target::Tuple(targets)),
        }
    }

    fn one_target(&mut self, fields: bool) -> Res<Target> {
        if self.skip_op("(") {
            let inner = self.nested(|p| p.target(false, &[]))?;
            self.expect_op(")")?;
            return Ok(inner);
        }
        if fields && matches!(self.peek_second(), Token::Op(".")) {
            let name = self.name()?;
            self.at += 1;
            return Ok(Target::Field(name, self.name()?));
        }
        Ok(Target::Name(self.assignable_name()?))
    }
}

fn caller(params: Vec<(Name, Option<Expr>)>, body: Body) -> Macro {
    let (uses_caller, uses_varargs, uses_kwargs) = (false, false, false);
    Macro { name: None, params, body, loads: Vec::new(), uses_caller, uses_varargs, uses_kwargs }
}
