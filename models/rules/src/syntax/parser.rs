//! The grammar, by recursive descent.

use super::lexer::{Lexer, Token};
use super::{Node, NodeKind, Operator, Span, SyntaxError, hints};
use crate::RuleLimits;

/// Reads an expression within limits.
///
/// # Errors
/// The first place that does not fit the grammar or the limits.
pub fn parse_expression_within(text: &str, limits: &RuleLimits) -> Result<Node, SyntaxError> {
    if text.len() > limits.expression_bytes_max as usize {
        let message = format!(
            "the expression has {} bytes, the limit is {}: split the rule",
            text.len(),
            limits.expression_bytes_max
        );
        return Err(SyntaxError { offset: 0, message });
    }
    let mut lexer = Lexer::new(text);
    let (token, span) = lexer.next()?;
    let mut parser =
        Parser { lexer, token, span, behind: 0, before: None, open: 0, nodes: 0, limits: *limits };
    let node = parser.expression()?;
    match parser.token {
        Token::End => Ok(node),
        _ => parser.unexpected("the end of the expression, or an operator"),
    }
}

struct Parser<'t> {
    lexer: Lexer<'t>,
    token: Token,
    span: Span,
    /// End of the token before this one.
    behind: u32,
    /// The name that was read last.
    before: Option<Box<str>>,
    /// Expressions begun and not ended: bounds the recursion of the parser itself.
    open: u32,
    nodes: u32,
    limits: RuleLimits,
}

type Parsed = Result<Node, SyntaxError>;

impl Parser<'_> {
    fn advance(&mut self) -> Result<Token, SyntaxError> {
        self.behind = self.span.end;
        let (token, span) = self.lexer.next()?;
        self.span = span;
        Ok(std::mem::replace(&mut self.token, token))
    }

    fn error<T>(&self, offset: u32, message: impl Into<String>) -> Result<T, SyntaxError> {
        Err(SyntaxError { offset, message: message.into() })
    }

    fn unexpected<T>(&mut self, wanted: &str) -> Result<T, SyntaxError> {
        if let Some(hint) = self.hint() {
            return self.error(self.span.start, hint);
        }
        let found = match &self.token {
            Token::Name(name) | Token::QuotedName(name) => format!("{name:?}"),
            Token::Number(text) => text.to_string(),
            Token::Text(_) => "a text".to_owned(),
            Token::Sign(sign) => (*sign).to_owned(),
            Token::End => "the end".to_owned(),
        };
        self.error(self.span.start, format!("expected {wanted}, found {found}"))
    }

    /// What to write in place of a word of another language, where this token is one or follows one.
    fn hint(&mut self) -> Option<String> {
        let Token::Name(word) = &self.token else {
            return None;
        };
        let word = word.clone();
        let next = match self.lexer.next() {
            Ok((Token::Name(next), _)) => Some(next),
            _ => None,
        };
        let hint =
            hints::for_operator(&word, next.as_deref()).map(|hint| format!("found {word}; {hint}"));
        hint.or_else(|| {
            let before = self.before.as_deref()?;
            hints::for_value(before).map(|hint| format!("found {before}; {hint}"))
        })
    }

    fn is_sign(&self, sign: &str) -> bool {
        matches!(&self.token, Token::Sign(found) if *found == sign)
    }

    fn expect(&mut self, sign: &'static str) -> Result<(), SyntaxError> {
        if self.is_sign(sign) { self.advance().map(drop) } else { self.unexpected(sign) }
    }

    fn node(&mut self, start: u32, kind: NodeKind) -> Parsed {
        let depth = 1 + match &kind {
            NodeKind::Bool(_) | NodeKind::Number(_) | NodeKind::Text(_) | NodeKind::Name(_) => 0,
            NodeKind::List(parts)
            | NodeKind::And(parts)
            | NodeKind::Or(parts)
            | NodeKind::Call(_, parts) => parts.iter().map(|part| part.depth).max().unwrap_or(0),
            NodeKind::Not(inner) | NodeKind::Negate(inner) => inner.depth,
            NodeKind::Binary(_, left, right) => left.depth.max(right.depth),
            NodeKind::If(condition, then, otherwise) => {
                condition.depth.max(then.depth).max(otherwise.depth)
            }
        };
        self.nodes += 1;
        if self.nodes > self.limits.nodes_max {
            let message = format!("more than {} parts: split the rule", self.limits.nodes_max);
            return self.error(start, message);
        }
        self.check_depth(start, depth)?;
        Ok(Node { kind, span: Span { start, end: self.behind }, depth })
    }

    fn check_depth(&self, at: u32, depth: u32) -> Result<(), SyntaxError> {
        if depth <= self.limits.depth_max {
            return Ok(());
        }
        self.error(at, format!("nested deeper than {}: split the rule", self.limits.depth_max))
    }

    fn expression(&mut self) -> Parsed {
        let start = self.span.start;
        self.open += 1;
        self.check_depth(start, self.open)?;
        let condition = self.or()?;
        let node = if self.is_sign("?") {
            self.advance()?;
            let then = self.or()?;
            self.expect(":")?;
            let otherwise = self.expression()?;
            let parts = (Box::new(condition), Box::new(then), Box::new(otherwise));
            self.node(start, NodeKind::If(parts.0, parts.1, parts.2))?
        } else {
            condition
        };
        self.open -= 1;
        Ok(node)
    }

    fn or(&mut self) -> Parsed {
        self.chain("||", Self::and, NodeKind::Or)
    }

    fn and(&mut self) -> Parsed {
        self.chain("&&", Self::relation, NodeKind::And)
    }

    fn chain(
        &mut self,
        sign: &'static str,
        part: fn(&mut Self) -> Parsed,
        join: fn(Vec<Node>) -> NodeKind,
    ) -> Parsed {
        let start = self.span.start;
        let first = part(self)?;
        if !self.is_sign(sign) {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.is_sign(sign) {
            self.advance()?;
            parts.push(part(self)?);
        }
        self.node(start, join(parts))
    }

    fn operators(
        &mut self,
        part: fn(&mut Self) -> Parsed,
        operator: fn(&Token) -> Option<Operator>,
    ) -> Parsed {
        let start = self.span.start;
        let mut left = part(self)?;
        while let Some(operator) = operator(&self.token) {
            self.advance()?;
            let right = part(self)?;
            left = self.node(start, NodeKind::Binary(operator, Box::new(left), Box::new(right)))?;
        }
        Ok(left)
    }

    fn relation(&mut self) -> Parsed {
        self.operators(Self::sum, |token| match token {
            Token::Sign("==") => Some(Operator::Equal),
            Token::Sign("!=") => Some(Operator::NotEqual),
            Token::Sign("<") => Some(Operator::Less),
            Token::Sign("<=") => Some(Operator::LessOrEqual),
            Token::Sign(">") => Some(Operator::Greater),
            Token::Sign(">=") => Some(Operator::GreaterOrEqual),
            Token::Name(name) if &**name == "in" => Some(Operator::In),
            _ => None,
        })
    }

    fn sum(&mut self) -> Parsed {
        self.operators(Self::product, |token| match token {
            Token::Sign("+") => Some(Operator::Add),
            Token::Sign("-") => Some(Operator::Subtract),
            _ => None,
        })
    }

    fn product(&mut self) -> Parsed {
        self.operators(Self::unary, |token| match token {
            Token::Sign("*") => Some(Operator::Multiply),
            Token::Sign("/") => Some(Operator::Divide),
            Token::Sign("%") => Some(Operator::Modulo),
            _ => None,
        })
    }

    /// CEL's grammar takes a run of `!` or a run of `-`, not a mixture.
    fn unary(&mut self) -> Parsed {
        let sign = match self.token {
            Token::Sign(sign @ ("!" | "-")) => sign,
            _ => return self.member(),
        };
        let mut starts = Vec::new();
        while self.is_sign(sign) {
            starts.push(self.span.start);
            self.check_depth(self.span.start, starts.len().try_into().unwrap_or(u32::MAX))?;
            self.advance()?;
        }
        let mut node = self.member()?;
        for start in starts.into_iter().rev() {
            let inner = Box::new(node);
            let kind = if sign == "!" { NodeKind::Not(inner) } else { NodeKind::Negate(inner) };
            node = self.node(start, kind)?;
        }
        Ok(node)
    }

    fn member(&mut self) -> Parsed {
        let start = self.span.start;
        let mut node = self.primary()?;
        loop {
            if self.is_sign("[") {
                return self.error(
                    self.span.start,
                    "positions in brackets are not part of the language; a set is asked with in",
                );
            }
            if !self.is_sign(".") {
                return Ok(node);
            }
            self.advance()?;
            let name = match &self.token {
                Token::Name(name) | Token::QuotedName(name) => name.clone(),
                _ => return self.unexpected("a name behind the dot"),
            };
            self.advance()?;
            let kind = if self.is_sign("(") {
                let mut arguments = vec![node];
                arguments.extend(self.arguments()?);
                NodeKind::Call(name, arguments)
            } else if let NodeKind::Name(path) = &node.kind {
                // The dots of one name are one node.
                self.nodes = self.nodes.saturating_sub(1);
                NodeKind::Name(format!("{path}.{name}").into())
            } else {
                return self
                    .error(start, format!("only names have parts: .{name} follows a value"));
            };
            node = self.node(start, kind)?;
        }
    }

    fn arguments(&mut self) -> Result<Vec<Node>, SyntaxError> {
        self.expect("(")?;
        self.items(")")
    }

    fn items(&mut self, end: &'static str) -> Result<Vec<Node>, SyntaxError> {
        let mut items = Vec::new();
        while !self.is_sign(end) {
            items.push(self.expression()?);
            if self.is_sign(",") {
                self.advance()?;
            } else if !self.is_sign(end) {
                return self.unexpected(&format!(", or {end}"));
            }
        }
        self.expect(end)?;
        Ok(items)
    }

    fn primary(&mut self) -> Parsed {
        let start = self.span.start;
        let kind = match &self.token {
            Token::Sign("(") => {
                self.advance()?;
                let mut node = self.expression()?;
                if self.is_sign(",") {
                    let message = "a list stands in brackets: country in [\"GB\", \"US\"]";
                    return self.error(start, message);
                }
                self.expect(")")?;
                // Brackets belong to the place of what they hold, so that clauses read well.
                node.span = Span { start, end: self.behind };
                return Ok(node);
            }
            Token::Sign("[") => {
                self.advance()?;
                NodeKind::List(self.items("]")?)
            }
            Token::Number(_) | Token::Text(_) | Token::Name(_) | Token::QuotedName(_) => match self
                .advance()?
            {
                Token::Number(text) => NodeKind::Number(text),
                Token::Text(text) => NodeKind::Text(text),
                Token::QuotedName(name) => NodeKind::Name(name),
                Token::Name(name) if self.is_sign("(") => NodeKind::Call(name, self.arguments()?),
                Token::Name(name) => return self.name(start, name),
                Token::Sign(_) | Token::End => {
                    return self.unexpected("a value");
                }
            },
            Token::Sign(".") => {
                return self.error(start, "a name does not begin with a dot");
            }
            Token::Sign(_) | Token::End => {
                return self.unexpected("a value: a field, a number, a text, a call or (");
            }
        };
        self.node(start, kind)
    }

    fn name(&mut self, start: u32, name: Box<str>) -> Parsed {
        let kind = match &*name {
            "true" => NodeKind::Bool(true),
            "false" => NodeKind::Bool(false),
            "null" => {
                let message = "there is no null: has(field) says whether a field is present";
                return self.error(start, message);
            }
            "in" | "and" | "or" | "not" => {
                let hint = hints::for_value(&name).unwrap_or("operators are && || !");
                let message = format!("found {name} where a value belongs; {hint}");
                return self.error(start, message);
            }
            _ => {
                self.before = Some(name.clone());
                NodeKind::Name(name)
            }
        };
        self.node(start, kind)
    }
}
