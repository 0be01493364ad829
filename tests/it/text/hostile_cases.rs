//! The templates for the tests in `hostile`.

/// Name, template, and a word that the error must contain.
pub(super) fn cases() -> Vec<(&'static str, String, &'static str)> {
    let s = str::to_owned;
    vec![
        (
            "double a string",
            s(
                "{% set n = namespace(s='ab') %}{% for i in range(40) %}{% set n.s = n.s ~ n.s %}{% endfor %}{{ n.s }}",
            ),
            "stopped",
        ),
        (
            "double by plus",
            s(
                "{% set n = namespace(s='ab') %}{% for i in range(40) %}{% set n.s = n.s + n.s %}{% endfor %}",
            ),
            "stopped",
        ),
        (
            "double a captured block",
            s(
                "{% set n = namespace(s='ab') %}{% for i in range(40) %}{% set b %}{{ n.s }}{{ n.s }}{% endset %}{% set n.s = b %}{% endfor %}",
            ),
            "stopped",
        ),
        (
            "double a list",
            s(
                "{% set n = namespace(l=[1, 2]) %}{% for i in range(40) %}{% set n.l = n.l + n.l %}{% endfor %}{{ n.l | length }}",
            ),
            "",
        ),
        (
            "print a doubled list",
            s(
                "{% set n = namespace(l=[1, 2]) %}{% for i in range(40) %}{% set n.l = n.l + n.l %}{% endfor %}{{ n.l }}",
            ),
            "",
        ),
        (
            "a list in itself twice",
            s(
                "{% set n = namespace(l=[1]) %}{% for i in range(40) %}{% set n.l = [n.l, n.l] %}{% endfor %}{{ n.l | tojson }}",
            ),
            "",
        ),
        (
            "print a list in itself twice",
            s(
                "{% set n = namespace(l=[1]) %}{% for i in range(40) %}{% set n.l = [n.l, n.l] %}{% endfor %}{{ n.l }}",
            ),
            "",
        ),
        (
            "join a list in itself twice",
            s(
                "{% set n = namespace(l=[1]) %}{% for i in range(40) %}{% set n.l = [n.l, n.l] %}{% endfor %}{{ n.l | join('x') }}{{ n.l | string }}",
            ),
            "",
        ),
        (
            "compare lists in themselves twice",
            s(
                "{% set n = namespace(l=[1], m=[1]) %}{% for i in range(40) %}{% set n.l = [n.l, n.l] %}{% set n.m = [n.m, n.m] %}{% endfor %}{{ n.l == n.m }}",
            ),
            "",
        ),
        (
            "a list in itself deep",
            s(
                "{% set n = namespace(l=[1]) %}{% for i in range(90000) %}{% set n.l = [n.l] %}{% endfor %}{{ n.l | tojson }}",
            ),
            "",
        ),
        (
            "a dict in itself deep",
            s(
                "{% set n = namespace(l={}) %}{% for i in range(90000) %}{% set n.l = {'a': n.l} %}{% endfor %}{{ n.l | tojson }}",
            ),
            "",
        ),
        (
            "tojson of a list in itself deep",
            s(
                "{% set n = namespace(l=[1]) %}{% for i in range(5000) %}{% set n.l = [n.l] %}{% endfor %}{{ n.l | tojson }}",
            ),
            "nested too deeply",
        ),
        (
            "print a list in itself deep",
            s(
                "{% set n = namespace(l=[1]) %}{% for i in range(20000) %}{% set n.l = [n.l] %}{% endfor %}{{ n.l }}{{ raise_exception('printed') }}",
            ),
            "",
        ),
        (
            "compare lists in themselves deep",
            s(
                "{% set n = namespace(l=[1], m=[1]) %}{% for i in range(12000) %}{% set n.l = [n.l] %}{% set n.m = [n.m] %}{% endfor %}{{ n.l == n.m }}{{ raise_exception('compared') }}",
            ),
            "",
        ),
        (
            "a namespace in itself",
            s("{% set n = namespace() %}{% set n.n = n %}{{ n }}{{ n | tojson }}"),
            "",
        ),
        (
            "nested loops",
            s("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"),
            "stopped",
        ),
        (
            "four nested loops",
            s(
                "{% for a in range(999) %}{% for b in range(999) %}{% for c in range(999) %}{% for d in range(999) %}x{% endfor %}{% endfor %}{% endfor %}{% endfor %}",
            ),
            "stopped",
        ),
        ("a huge range", s("{% for i in range(100000000000000) %}{% endfor %}"), "range"),
        ("a huge range as a list", s("{{ range(100000000000) | list | length }}"), "range"),
        (
            "range below zero by steps",
            s("{% for i in range(0, -1000000000000, -1) %}{% endfor %}"),
            "range",
        ),
        (
            "a macro that calls itself",
            s("{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}"),
            "recursion",
        ),
        (
            "two macros that call each other",
            s(
                "{% macro f() %}{{ g() }}{% endmacro %}{% macro g() %}{{ f() }}{% endmacro %}{{ f() }}",
            ),
            "",
        ),
        (
            "a macro that calls itself twice",
            s(
                "{% macro f(n) %}{% if n > 0 %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}x{% endmacro %}{{ f(40) }}",
            ),
            "recursion",
        ),
        (
            "a recursive loop without end",
            s("{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}"),
            "recursion",
        ),
        (
            "a caller in a caller",
            s("{% macro f() %}{% call f() %}{{ caller() }}{% endcall %}{% endmacro %}{{ f() }}"),
            "",
        ),
        ("include itself", s("{% include 'chat_template' %}"), ""),
        ("import itself", s("{% import 'chat_template' as t %}{{ t }}"), ""),
        ("extend itself", s("{% extends 'chat_template' %}"), ""),
        ("include a file", s("{% include '/etc/passwd' %}"), ""),
        ("deep ifs", "{% if true %}\n".repeat(5_000) + &"{% endif %}\n".repeat(5_000), "recursion"),
        ("deep fors", "{% for a in [1] %}".repeat(149) + "x" + &"{% endfor %}".repeat(149), ""),
        ("deep parentheses", deep("(", "1", 20_000), "words"),
        ("deep lists", deep("[", "1", 20_000), "words"),
        ("deep nots", deep("not", "1", 20_000), "words"),
        ("deep minus", deep("-", "1", 20_000), "words"),
        ("deep filters", deep("", "'a'", 0) + &after("'a'", "|upper", 20_000), "words"),
        ("deep attributes", after("messages", ".a", 20_000), "words"),
        ("deep sums", after("1", "+1", 20_000), "words"),
        ("deep powers", after("2", "**2", 20_000), "words"),
        ("deep conditions", after("1", " if 1 else 1", 10_000), "words"),
        (
            "deep elifs",
            "{% if 0 %}".to_owned() + &"{% elif 0 %}\n".repeat(10_000) + "{% endif %}",
            "elif",
        ),
        (
            "many macros",
            (0..5000)
                .map(|i| format!("{{% macro m{i}() %}}\n{{% endmacro %}}\n"))
                .collect::<String>()
                + "{{ raise_exception('built') }}",
            "built",
        ),
        (
            "constant lists multiplied",
            format!("{{{{ [1]*1000000000 {} }}}}", "+ [1]*1000000000 ".repeat(50)),
            "stopped",
        ),
        ("splats", s("{{ dict(*range(90000)) }}"), "at most"),
        ("a string times a number", s("{{ 'abcdefgh' * 1000000000 }}"), "stopped"),
        ("a list times a number", s("{{ ([1, 2] * 1000000000) | list | length }}"), ""),
        ("a wide format", s("{{ '%2000000000d' | format(1) }}"), ""),
        ("a precise format", s("{{ '%.2000000000f' | format(1.5) }}"), ""),
        ("a wide str.format", s("{{ '{:2000000000}'.format(1) }}"), ""),
        ("a wide indent", s("{{ 'a\nb' | indent(2000000000) }}"), ""),
        ("a wide tojson indent", s("{{ [1] | tojson(indent=2000000000) }}"), "stopped"),
        (
            "long tojson separators",
            s("{{ range(9000) | list | tojson(separators=('x' * 100000, ':')) }}"),
            "",
        ),
        (
            "long tojson indent text",
            s("{{ range(9000) | list | tojson(indent='x' * 100000) }}"),
            "",
        ),
        (
            "replace that grows",
            s(
                "{% set n = namespace(s='aaaaaaaaaa') %}{% for i in range(40) %}{% set n.s = n.s.replace('a', 'aaaaaaaaaa') %}{% endfor %}",
            ),
            "stopped",
        ),
        (
            "join that grows",
            s(
                "{% set n = namespace(s='ab') %}{% for i in range(40) %}{% set n.s = n.s.join([n.s, n.s, n.s]) %}{% endfor %}",
            ),
            "stopped",
        ),
        (
            "a list of one long text",
            s(
                "{% set t = 'x' * 1000000 %}{% set l = [t, t, t, t, t, t, t, t, t, t] %}{% set l = [l, l, l, l, l, l, l, l, l, l] %}{% set l = [l, l, l, l, l, l, l, l, l, l] %}{{ l }}",
            ),
            "stopped",
        ),
        (
            "join one long text",
            s(
                "{% set t = 'x' * 1000000 %}{% set l = [t, t, t, t, t, t, t, t, t, t] %}{% set l = l + l + l + l %}{{ l | join | length }}",
            ),
            "stopped",
        ),
        (
            "a long text as text of a list",
            s(
                "{% set t = 'x' * 1000000 %}{% set l = [t, t, t, t, t, t, t, t, t, t] %}{% set l = [l, l, l, l, l, l, l, l, l, l] %}{{ (l ~ l) | length }}{{ l | string | length }}",
            ),
            "stopped",
        ),
        ("many fields of str.format", s("{{ ('{:999}' * 100000).format(1) | length }}"), ""),
        (
            "one argument in many fields",
            s("{{ ('{0}' * 100000).format('x' * 1000000) | length }}"),
            "stopped",
        ),
        (
            "one argument in many places",
            s("{{ ('%(a)s' * 100000) | format(a='x' * 1000000) | length }}"),
            "stopped",
        ),
        (
            "indent many lines",
            s("{{ ('\n' * 1000000) | indent(999, true, true) | length }}"),
            "stopped",
        ),
        ("split to many pieces", s("{{ ('a' * 8000000).split('a') | length }}"), "stopped"),
        ("split to many lines", s("{{ ('\n' * 8000000).splitlines() | length }}"), "stopped"),
        ("filter to many pieces", s("{{ ('a' * 8000000) | list | length }}"), "stopped"),
        (
            "chained comparisons",
            s(
                "{% set n = namespace(l=[1]) %}{% for i in range(14) %}{% set n.l = [n.l, n.l] %}{% endfor %}{% for i in range(9000) %}{{ n.l == n.l == n.l }}{% endfor %}",
            ),
            "stopped",
        ),
        (
            "in many lists",
            s(
                "{% set l = range(10000) | list %}{% for i in range(9000) %}{{ l | select('in', l) | list | length }}{% endfor %}",
            ),
            "stopped",
        ),
        (
            "sort again and again",
            s(
                "{% set n = namespace(l=[1]) %}{% for i in range(14) %}{% set n.l = [n.l, n.l] %}{% endfor %}{% for i in range(9000) %}{{ n.l | sort | length }}{% endfor %}",
            ),
            "stopped",
        ),
        ("a batch of one", s("{{ [1] | batch(2000000000, 0) | list | length }}"), ""),
        ("many slices", s("{{ [1] | slice(2000000000) | list | length }}"), ""),
        ("a huge power", s("{{ 10 ** 100000000 }}"), ""),
        ("a division by zero", s("{{ 1 // 0 }}"), ""),
        (
            "a remainder of the smallest",
            s(
                "{{ (-9223372036854775807 - 1) // -1 }}{{ (-9223372036854775807 - 1) % -1 }}{{ raise_exception('counted') }}",
            ),
            "",
        ),
        ("internals of a string", s("{{ ''.__class__.__mro__[1].__subclasses__() }}"), ""),
        ("internals of a function", s("{{ raise_exception.__globals__['os'].system('id') }}"), ""),
        ("an attribute of undefined", s("{{ nothing.at.all }}"), "undefined"),
        ("an unknown method", s("{{ messages.pop() }}"), ""),
        ("an unknown filter", s("{{ 1 | shell }}"), "filter"),
        ("an unknown function", s("{{ open('/etc/passwd') }}"), ""),
        ("an unknown tag", s("{% do messages %}{% shell %}"), ""),
        (
            "raise_exception",
            s("{{ raise_exception('only one user') }}"),
            "refuses this conversation: only one user",
        ),
        (
            "raise_exception in a macro",
            s("{% macro f() %}{{ raise_exception('inner ' ~ 5) }}{% endmacro %}{{ f() }}"),
            "refuses this conversation: inner 5",
        ),
        ("an unclosed if", s("{% if true %}x"), ""),
        ("an unclosed expression", s("line\n{{ 1 + "), "line 2"),
        ("an unclosed comment", s("{# comment"), ""),
        ("an unclosed string", s("{{ 'abc }}"), ""),
        ("an end without a beginning", s("{% endfor %}"), ""),
        ("a lone generation", s("{% generation %}x"), ""),
        ("openings only", "{%\n".repeat(50_000), ""),
        ("comments only", "{#\n".repeat(50_000), ""),
        ("expressions without end", "{{\n".repeat(50_000), ""),
        ("a template of 2 MB", "x".repeat(2 << 20), "at most"),
        ("a long date", s("{{ strftime_now('%B' * 100000000) }}"), "stopped"),
        ("an unknown date", s("{{ strftime_now('%Q') }}"), "%Q"),
        (
            "dates in a loop",
            s(
                "{% set n = namespace(s='%A') %}{% for i in range(40) %}{% set n.s = strftime_now(n.s ~ '%%A%%A') ~ n.s %}{% endfor %}",
            ),
            "",
        ),
        (
            "a chain of namespaces",
            s(
                "{% set n = namespace(n=none) %}{% for i in range(60000) %}{% set n.n = namespace(n=n.n) %}{% endfor %}{{ raise_exception('made') }}",
            ),
            "",
        ),
        (
            "a chain of generators",
            s(
                "{% set n = namespace(l=[1]) %}{% for i in range(60000) %}{% set n.l = n.l | map('abs') %}{% endfor %}{{ n.l | list }}",
            ),
            "nested too deeply",
        ),
        (
            "a chain of macros",
            s(
                "{% set n = namespace(f=none) %}{% for i in range(9000) %}{% set g = n.f %}{% macro f() %}{{ g }}{% endmacro %}{% set n.f = f %}{% endfor %}{{ n.f() }}{{ raise_exception('made') }}",
            ),
            "",
        ),
        (
            "a macro in its own namespace",
            s(
                "{% set n = namespace() %}{% macro f() %}{{ n }}{% endmacro %}{% set n.f = f %}{% set n.n = n %}{{ n.f() }}",
            ),
            "",
        ),
        ("a wide center", s("{{ 'a'.center(2000000000) }}"), "stopped"),
        ("a wide percent", s("{{ '%*d' % (2000000000, 1) }}"), "stopped"),
        ("a precise percent", s("{{ '%.*f' % (2000000000, 1) }}"), "stopped"),
        ("many tabs", s("{{ ('\t' * 1000000).expandtabs(1000) | length }}"), "stopped"),
        ("a join of itself", s("{{ ('x' * 100000).join('y' * 100000) | length }}"), "stopped"),
        (
            "a translation that grows",
            s("{{ ('a' * 100000).translate({97: 'b' * 100000}) | length }}"),
            "stopped",
        ),
        (
            "wrapped to single letters",
            s("{{ ('a' * 3000000) | wordwrap(1, wrapstring='x' * 1000) | length }}"),
            "stopped",
        ),
        (
            "tags in tags",
            s(
                "{{ ('<' * 1000000 ~ '>' * 1000000) | striptags | length }}{{ raise_exception('made') }}",
            ),
            "made",
        ),
        (
            "many links",
            s("{{ ('http://a.com ' * 300000) | urlize(rel='x' * 1000) | length }}"),
            "stopped",
        ),
        (
            "a long address",
            s(
                "{{ ('(' * 1000000 ~ 'a' ~ ')' * 1000000) | urlize | length }}{{ raise_exception('made') }}",
            ),
            "",
        ),
        (
            "printed prettily",
            s(
                "{{ (['x' * 100] * 20000) | pprint | length }}{{ ('w ' * 400000) | pprint | length }}{{ raise_exception('made') }}",
            ),
            "",
        ),
        ("a long lipsum", s("{{ lipsum(1000000) | length }}"), "stopped"),
        ("tojson of a function", s("{{ raise_exception | tojson }}"), ""),
        ("tojson of undefined", s("{{ nothing | tojson }}"), "undefined"),
    ]
}

/// An expression after many prefixes, one per line.
fn deep(prefix: &str, inner: &str, times: usize) -> String {
    let close = match prefix {
        "(" => ")\n",
        "[" => "]\n",
        _ => "",
    };
    let open = format!("{prefix}\n").repeat(times);
    format!("{{{{ {open}{inner}{} }}}}", close.repeat(times))
}

/// An expression before many suffixes, one per line.
fn after(inner: &str, suffix: &str, times: usize) -> String {
    format!("{{{{ {inner}{} }}}}", format!("\n{suffix}").repeat(times))
}

/// Templates nested as deeply as the limits allow. They may fail, but not by a stack overflow.
pub(super) fn deepest() -> Vec<(&'static str, String)> {
    vec![
        ("one long line", "x".repeat(100_000)),
        ("many lines", "x\n".repeat(100_000)),
        ("nots within limits", deep("not", "1", 990)),
        ("minus within limits", deep("-", "1", 990)),
        ("parentheses within limits", deep("(", "1", 70)),
        ("lists within limits", deep("[", "1", 70)),
        ("filters within limits", after("'a'", "|upper", 490)),
        ("attributes within limits", after("messages", ".a", 490)),
        ("sums within limits", after("1", "+1", 490)),
        ("lists added within limits", after("[1]", "+[1]", 240)),
        ("list variables added within limits", s_add()),
        ("powers within limits", after("2", "**2", 490)),
        ("conditions within limits", after("1", " if 1 else 1", 240)),
        ("elifs within limits", "{% if 0 %}".to_owned() + &"{% elif 0 %}\n".repeat(499) + "{% endif %}"),
        ("slices within limits", after("messages", "[0:]", 190)),
        ("ifs within limits", "{% if 1 %}".repeat(140) + "x" + &"{% endif %}".repeat(140)),
        ("fors within limits", "{% for a in [1] %}".repeat(60) + "x" + &"{% endfor %}".repeat(60)),
        ("macros within limits", "{% macro f(n) %}{{ f(n - 1) if n else 'x' }}{% endmacro %}{{ f(12) }}".to_owned()),
        ("nesting within limits", "{% set n = namespace(l=[1]) %}{% for i in range(150) %}{% set n.l = [n.l] %}{% endfor %}{{ n.l }}{{ n.l | tojson }}{{ n.l == n.l }}".to_owned()),
    ]
}

fn s_add() -> String {
    format!("{{% set l = range(1000) | list %}}{}", after("l", "+l", 240))
}
