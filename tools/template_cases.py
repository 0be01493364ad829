"""The cases of template_goldens.py: the variables and the templates."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product

VARS = {
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi, it's <me> & \"you\"\n"},
        {"role": "assistant", "content": "Hello", "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]},
        {"role": "user", "content": "Größe 中文 😀"},
    ],
    "tools": [{"type": "function", "function": {"name": "get", "parameters": {"items": {"type": "string"}}}}],
    "d": {"b": 1, "a": [1, 2.5, None], "é": True, "items": "own", "B": {"x": 'q"'}},
    "l": [3, 1, 2, 1],
    "words": ["pear", "Apple", "fig", "apple"],
    "rows": [
        {"n": "x", "v": 2, "t": {"u": "b"}},
        {"n": "Y", "v": 1, "t": {"u": "a"}},
        {"n": "x", "v": 3, "t": {"u": "B"}},
        {"n": "y", "v": 1, "t": {}},
    ],
    "s": "The quick-brown fox\tjumps over\n the lazy dog's back",
    "n": 42,
    "f": 3.14159,
    "big": 9007199254740993,
    "neg": -7,
    "nothing": None,
    "yes": True,
    "no": False,
    "html": "<b>bold</b> &amp; <i>it</i> &copy; <!-- <x> --> &#65;&#x1F600; AT&T",
    "empty": "",
    "tree": [{"v": 1, "c": [{"v": 2, "c": []}, {"v": 3, "c": [{"v": 4, "c": []}]}]}],
}

# Texts for methods and filters.
TEXTS = ["'abc'", "''", "' a  b '", "'Hello World'", "'ß ﬁ ǆ ΑΣ ς'", "'١٢'", "'a-b-c'", "'x²½'", "'İıŉ'", "'a\\nb\\r\\nc\\x0bd'"]

METHODS = """
capitalize() casefold() lower() upper() title() swapcase() strip() lstrip() rstrip() isalnum() isalpha() isascii()
isdecimal() isdigit() isidentifier() islower() isnumeric() isprintable() isspace() istitle() isupper() split()
rsplit() splitlines() splitlines(true) splitlines(keepends=True) split('-') split('-',1) split('-',maxsplit=1)
split(sep='-') split(None,1) rsplit('-',1) rsplit(None,1) rsplit(maxsplit=1) partition('-') rpartition('-')
removeprefix('a') removesuffix('c') startswith('b',1) endswith('b',0,2) startswith(('x','a')) endswith(['c'])
find('b') rfind('b') index('b') rindex('b') count('b') count('') find('b',2) find('b',-2) count('a',0,1) find('',9)
zfill(6) zfill(-1) ljust(6) ljust(6,'.') rjust(6,'é') center(6) center(7,'*') center(2) expandtabs() expandtabs(2)
replace('a','Z') replace('','-') replace('b','',1) replace('b','x',-1) join(['1','2']) join('xy') join([1]) encode()
translate({97:'A',98:none,99:0x44}) format() isfoo() strip('a') lstrip('ab ') rstrip(none) strip('c',1) upper(1)
split('') replace('a') replace(1,2) ljust(6,'ab') startswith(1) split(1) zfill('a') center() casefold(x=1)
""".split()

FORMATS = """
'%s' % 1|'%s %s' % (1,'b')|'%d%%' % 3.9|'%05d|%-5d|%+d|% d' % (42,42,42,42)|'%x %X %o %#x %#o' % (255,255,8,255,8)
'%e %E %.2e' % (12345.678,0.00012,1.5)|'%f %.2f %.0f %#.0f' % (1.5,2.675,2.5,2.0)|'%g %g %g %G' % (1e-5,123456789,0.1,1e20)
'%c%c' % (65,'é')|'%r %a' % ('é"',"é'")|'%5s|%-5s|%.2s' % ('ab','ab','abc')|'%(a)s-%(b)05.1f' % {'a':1,'b':2.25}
'%*d|%-*d|%.*f' % (5,1,5,1,2,3.14159)|'%s' % [1,2]|'%s' % (([1,2]),)|'%s' % none|'%s' % undef|'x' % []|'x' % 1
'%d' % 'a'|'%s %s' % 1|'%s' % (1,2)|'%q' % 1|'%' % 1|'%(a)s' % 1|'%x' % 1.5|'%d' % true|'%i %u' % (1,-2)|'%.3d' % 5
'%+.1e' % -0.0|'%010.3f' % -3.14159|'%-10.3f|' % 3.14159|'% 5d' % -3|'%05s' % 'a'|'%#g %#.3g' % (1.0,0.5)|'%s' % {}
'%5%' % ()|'%c' % 'ab'|'%c' % -1|'%s' % 1e16|'%s' % 1.0|'%(a)s %(a)r' % {'a':'x'}|'%ld' % 3|'%.50f' % 0.1|'%f' % 1e30
'%s %(a)s' % {'a':1}|'%z' % 1|'%08.2f%%' % 99.5|'%+d %+d' % (0,-0)|'%#X' % 0|'%e' % 0|'%g' % 100000|'%g' % 1000000
""".replace("\n", "|").strip("|")

SPECS = """
''|'5'|'<5'|'>5'|'^5'|'*^9'|'05'|'+'|' '|','|'_'|'012,'|'.2f'|'+.1f'|'e'|'.3g'|'g'|'%'|'.0%'|'b'|'#b'|'o'|'#x'|'X'|'c'
'n'|'d'|'s'|'=+8'|'0=8'|'x<8'|'.3'|'.10'|'10.4f'|',.2f'|'_b'|'_x'|'z.0f'|'#.3g'|'F'|'E'|'G'|'q'|'5.'|'é>6'|'<<5'|'{}'
""".replace("\n", "|").strip("|").split("|")

FORMAT_CALLS = """
'{}'.format(1)|'{} {}'.format(1,'b')|'{1} {0}'.format(1,2)|'{a} {b[0]} {b[1]}'.format(a=1,b=[2,3])|'{0.real}'.format(3)
'{!r} {!s} {!a}'.format('é','é','é')|'{:{}}|{:{w}}'.format(1,5,2,w=4)|'{{}} {{{}}}'.format(1)|'{'.format(1)|'}'.format(1)
'{}{}'.format(1)|'{x}'.format(1)|'{0}{}'.format(1,2)|'{}{0}'.format(1,2)|'{a.b}'.format(a={'b':5})|'{a[b]}'.format(a={'b':5})
'{0.__class__}'.format(1)|'{a!x}'.format(a=1)|'{:>{w}.{p}f}'.format(3.14159,w=8,p=2)|'{x[}'.format(x=1)|'{x.}'.format(x=1)
'{a}'.format_map({'a':1})|'{b}'.format_map({'a':1})|'{a}'.format_map(a=1)|'{:d}'.format('x')|'{:s}'.format(1)|'{:5}'.format([1])
'{}'.format(none)|'{:5}'.format(none)|'{}'.format(undef)|'{0[a]}{0[b]}'.format(d)|'{:>5}{:<5}|'.format(true,'a')|'{:d}'.format(true)
'{:%}'.format(0.5)|'{a[0][1]}'.format(a=[[1,2]])|'{0[items]}'.format(d)|'{0.items}'.format(1)|'{!r:>8}'.format('a')|'{:{:}}'.format(1,2)
""".replace("\n", "|").strip("|")

EXPRESSIONS = """
1 + 2 * 3|(1 + 2) * 3|7 // 2|-7 // 2|7 % -3|-7 % 3|7 / 2|4 / 2|2 ** 10|2 ** -1|2 ** 3 ** 2|-2 ** 2|7.5 // 2|-7.5 % 2|1e3|1.5e-7
1_000|0x1F|0b101|0o17|1e16|1e15|123456789012345678901234567890|0.1 + 0.2|1 / 3|1e400|-1e400|1 // 0|1 / 0|1 % 0|1.0 // 0|0 ** -1
5 // 0.3|-0.0|0.0 * -1|10 ** 20|2 ** 100|1.0 == 1|1 == true|'1' == 1|none == false|[1] == (1,)|{'a':1} == {'a':1.0}|1 < 2 < 3
1 < 2 > 3|3 > 2 > 1 == 1|'a' < 'b'|[1,2] < [1,3]|1 < 'a'|none < 1|'b' in 'abc'|1 in [1.0]|'a' in {'a':1}|4 not in (1,2)|1 in 'a'
1 in undef|undef in [1]|'x' in 5|not true and false|not (true and false)|1 or 2|0 or 'x'|'' and 1|1 and 2|not 1 == 2|true == not false
'a' + 'b'|'a' * 3|3 * 'a'|[1] * 2|2 * (1,)|[1] + [2]|(1,) + (2,)|[1] + (2,)|'a' + 1|1 + 'a'|'a' ~ 1 ~ none ~ 2.0|1 ~ 2 + 3
+true|-true|-'a'|+1.5|- - 3|'a' 'b' "c"|'a' is string|1 is not string|1 if true else 2|1 if false|(1 if false) is defined
'x' if false else 'y' if false else 'z'|[1, 2, ]|(1,)|()|(1, 2)|1, 2|{}|{'a': 1, }|{1: 'a', 1.0: 'b', true: 'c'}|{'a': {'b': [1, (2,)]}}
{none: 1, (1, 2): 2}|{[1]: 2}|[1, [2, {'a': 'b'}]]|'it\\'s'|"it's"|'"'|"it's \\"q\\""|['it\\'s', "\\"", '\\\\', '\\n\\t\\r\\x00\\x7f\\xa0']
['é', '中', '😀', '\\u200b', '\\ud7ff', '\\u2028']|'\\x41\\u00e9\\U0001F600\\101\\a\\q'|'\\N{BULLET}'|'a\\
b'|true|True|none|None|false|nil|l[0]|l[-1]|l[9]|l[1:]|l[:-1]|l[::-1]|l[::2]|l[-3:-1]|l[5:]|l[0:9:2]|l[3:0:-1]|l['a']|l[none:2]
l[true]|l[1.0]|l[::0]|s[0]|s[-1]|s[4:9]|s[::-1]|s[99]|s['a']|s[1:2, 3]|d['b']|d.b|d.items|d['items']|d.missing|d['missing']|d.missing.x
d.a[2]|d['a'].0|d.B.x|d.keys()|d.values()|d.items()|d.keys()|list|d.items()|list|d.get('b')|d.get('z')|d.get('z', 5)|d.get('z', default=5)
d.get()|d.pop('b')|d.update({})|d.copy()|d.clear()|d.setdefault('a')|d.popitem()|d.pop|d.pop is defined|d.fromkeys(['a'])
d.fromkeys('ab', 0)|dict.fromkeys([1, 2])|d['a', 'b']|d[[1]]|d[1:2]|{1: 2}[1]|{1: 2}[1.0]|{'a.b': 1}['a.b']|l.count(1)|l.index(2)|l.index(9)
l.index(1, 2)|l.copy()|l.append(1)|l.append|l.pop()|l.insert(0, 1)|l.extend([1])|l.sort()|l.reverse()|l.remove(1)|l.clear()|l.foo
l.foo()|l.foo.bar|(1, 2, 1).count(1)|(1, 2).index(2)|(1, 2).append|n.real|n.imag|n.bit_length()|n.numerator|n.denominator|n.conjugate()
n.bit_count()|n.as_integer_ratio()|n.foo|n.is_integer|f.is_integer()|f.real|f.imag|f.as_integer_ratio()|1.5.hex()|f.hex()|true.real
'abc'.__class__|''.__class__.__mro__|'a'.encode().decode()|'é'.encode()|'é'.encode('latin-1')|'é'.encode('ascii')|'a'.encode('utf-8')[0]
'abc'.maketrans('ab', 'xy')|'abc'.translate('abc'.maketrans('ab', 'xy'))|'abc'.translate('abc'.maketrans('a', 'x', 'c'))
'abc'.translate('abc'.maketrans({'a': 'ZZ', 98: none}))|undef|undef.x|undef['x']|undef()|undef + 1|1 + undef|undef == undef|undef == none
undef is undefined|undef|length|undef|list|undef ~ 'x'|-undef|undef < 1|undef|int|undef|tojson|undef|string|undef|upper|not undef
undef|join(',')|undef.items()|undef|first|[undef]|{'a': undef}|range(3)|range(1, 5)|list|range(5, 0, -2)|list|range(0)|range(3)[1]
range(10)[2:5]|range(3)|length|range(1, 2, 0)|range('a')|range(1.5)|range(100001)|range(3).start|range(3).index(2)|range(3) == range(0, 3)
2 in range(3)|'a' in range(3)|range(3)|tojson|range()|dict()|dict(a=1)|dict({'a': 1}, b=2)|dict([('a', 1)])|dict([1])|dict({'a':1}, **{'b': 2})
dict(*[[('a', 1)]])|dict|namespace|namespace()|namespace(a=1)|namespace(a=1).a|namespace({'a': 1}, b=2).b|namespace(a=1).b|namespace(_a=1)
namespace(a=1)['a']|namespace(1)|cycler|joiner|range|lipsum|raise_exception|raise_exception('no')|cycler()|joiner()()|joiner('; ')|strftime_now
cycler(1, 2).current|cycler(1, 2).next()|cycler(1, 2).items|messages[1].content|messages[0]|messages[2].tool_calls[0].function.arguments
tools[0].function.parameters.items|tools[0].function.parameters['items']|tools[0].function.parameters.items()|list|tools[0]|messages|length
messages[0].role.upper()|messages[-1]['content']|messages[1:]|length|big|big + 1|big / 3|1e22|123456789.123456789|1e-5|0.0001|5e-324
1.7976931348623157e308|100.0|1e100|float('1')|int('1')|len(l)|str(1)|print(1)|open('x')|self|loop|caller()|varargs|super()
1 .real|n.0|l.0|l.1.real|'a'.0|d . b|d ['b']|(l)[0]|[1,2][0]|{'a':1}.a|'abc'[1]|-l[0]|not l[0]|-1|abs|-1.5|abs|1 - 1|- 1|abs
n|string|length|2 + 3|string|'a' ~ 'b'|upper|1 in [1] is true|1 is odd and 2 is even|n is divisibleby 6|n is divisibleby(5)|n is in [42]
n is not in [42]|1 is in([1])|'a' is eq 'a'|1 is lt 2|1 is ge(1)|1 is sameas 1|none is none is true|n is foo|'x' is equalto x|foo(1)|1(2)
'a'.upper|'a'.upper()()|1 == 1.0 == true|[] or {} or ''|() == []|(1, 2)[0]|(1, 2)[-1:]|(1, 2, 3)[::-1]|'%s' ~ 1|1 if 1 else|1 +|)|(1|[1|{'a'
""".replace("\\\nb", "\0").replace("\n", "|").replace("\0", "\\\nb")

FILTERS = """
-5|abs;'a'|abs;-1.5|abs;true|abs;none|abs;d|attr('b');d|attr('keys');n|attr('real');s|attr('upper');n|attr('__class__');n|attr(1);'x'|attr('y')
[1,2,3,4,5]|batch(2)|list;[1,2,3]|batch(2,'-')|list;[1,2,3]|batch(linecount=2,fill_with=0)|list;[]|batch(2)|list;[1,2]|batch(0)|list;[1]|batch|list
'aBC dEF'|capitalize;5|capitalize;'abc'|center(9);'abc'|center;'abc'|center(width=6);s|count;[1]|count;5|count;undef|default('x');''|default('x')
''|default('x',true);none|default('x',boolean=true);none|default('x');undef|default;undef|d(1);0|d(1,true);d.z|default({});undef|default(default_value=2)
d|dictsort;{'b':1,'A':2,'a':3}|dictsort;{'b':1,'A':2,'a':3}|dictsort(true);{'b':1,'A':2}|dictsort(by='value');{'b':1,'A':2}|dictsort(false,'value',true)
{'b':1,'A':2}|dictsort(reverse=true);{'b':1}|dictsort(by='x');{1:2,'a':3}|dictsort;[1]|dictsort;html|e;html|escape;html|escape|escape;5|e;none|e
html|forceescape;html|e|forceescape;html|safe;html|safe|e;1|filesizeformat;0|filesizeformat;1000|filesizeformat;1024|filesizeformat(true)
1500|filesizeformat;1000000|filesizeformat;123456789|filesizeformat(binary=true);1e30|filesizeformat;'1500'|filesizeformat;'x'|filesizeformat
-5|filesizeformat;999|filesizeformat;1.5|filesizeformat;l|first;''|first;'ab'|first;[]|first;d|first;5|first;{}|first|d('z');'1.5'|float;'x'|float
'x'|float(2);none|float;' 1e3 '|float;'1_0'|float;'inf'|float;'nan'|float;true|float;n|float;[]|float(default=1);'%s-%d'|format('a',3);'%(a)s'|format(a=1)
'%s'|format;'%s %s'|format(1);'%s'|format(1,a=2);5|format;rows|groupby('n');rows|groupby('v')|map('first')|list;rows|groupby('v')|map(attribute='list')|map('length')|list
rows|groupby('n',case_sensitive=true)|map(attribute='grouper')|list;rows|groupby('t.u',default='z')|map(attribute='grouper')|list;rows|groupby('t.u')
rows|groupby(attribute='v');rows|groupby;(rows|groupby('n'))[0].grouper;(rows|groupby('n'))[0].list|length;(rows|groupby('n'))[0][0];[[1,2],[1,3]]|groupby(0)
'a\\nb\\n\\nc'|indent;'a\\nb\\n\\nc'|indent(2);'a\\nb\\n\\nc'|indent(2,true);'a\\nb\\n\\nc'|indent(2,true,true);'a\\nb'|indent('> ');'a\\nb'|indent(width=1,first=true)
'a\\nb\\n'|indent(blank=true);5|indent;''|indent;'a'|indent(-1);'42'|int;'42.7'|int;'x'|int;'x'|int(7);'0x1f'|int(0,16);'0b11'|int(base=0);'1f'|int(0,16)
3.9|int;-3.9|int;none|int;none|int(5);true|int;' 12 '|int;'1_000'|int;'١٢'|int;'z'|int(base=36);'inf'|int;1e400|int;'12'|int(0,99);[]|int;'0x1f'|int;'012'|int(0,0)
d|items|list;{}|items|list;undef|items|list;[1]|items|list;l|join;l|join(',');l|join(', ')|upper;rows|join(',',attribute='n');rows|join('|','v');'abc'|join('-')
d|join(',');[1,none,true,2.0]|join(' ');5|join;l|join(5);[html|safe,'<']|join(',');l|last;'ab'|last;[]|last;d|last;range(3)|last;l|map('string')|last;5|last
'abc'|length;'é😀'|length;l|length;d|length;5|length;none|length;l|map('string')|length;'abc'|list;d|list;5|list;none|list;(1,2)|list;range(3)|list
'ABC'|lower;5|lower;none|lower;'ΑΣ'|lower;l|max;l|min;words|max;words|min;words|max(true);words|min(case_sensitive=true);rows|max(attribute='v')
rows|min(attribute='v');[]|max;[]|min|d(0);[1,'a']|max;'abc'|max;[1,1.0]|max;[3,none]|min;d|max;l|map('string')|list;l|map('float')|list;rows|map(attribute='n')|list
rows|map(attribute='t.u')|list;rows|map(attribute='t.u',default='-')|list;rows|map(attribute='x',default=0)|sum;l|map('default',1)|list;words|map('upper')|join(' ')
words|map('replace','p','P')|list;words|map('truncate',3,true,'')|list;l|map|list;l|map('nope')|list;l|map('abs',1)|list;none|map('abs')|list;l|map(attribute='real')|list
rows|map('attr','n')|list;rows|map(attribute=0)|list;[[1,2],[3]]|map('sum')|list;l|map('pprint')|list;words|map('length')|sum;l|map('string');5|map('abs')|list
{'b':[1,2],'a':'x'}|pprint;d|pprint;s|pprint;none|pprint;[1,2]|pprint;messages|pprint;rows|pprint;range(60)|list|pprint;{'k'*50:'v'*50,'a':{'c'*40:[1,2,'z'*60]}}|pprint
('word '*30)|pprint;['word '*30,'x']|pprint;('a'*100,)|pprint;{1:'a','b':2}|pprint;(1,)|pprint;('line\\n'*3)|pprint;('line of text\\n'*9)|pprint
l|reject('odd')|list;l|reject|list;l|reject('eq',1)|list;rows|rejectattr('v','eq',1)|map(attribute='n')|list;rows|rejectattr('t.u')|list;rows|rejectattr|list
'aXbX'|replace('X','-');'aXbX'|replace('X','-',1);5|replace(5,6);'a'|replace('a');'aaa'|replace('a','b',count=2);'abc'|replace('','-');html|safe|replace('b','x')
'abc'|reverse;l|reverse|list;l|reverse;(1,2)|reverse|list;d|reverse|list;5|reverse;l|map('abs')|reverse|list;''|reverse;range(3)|reverse|list
2.5|round;3.5|round;2.675|round(2);2.5|round(0,'ceil');2.4|round(method='floor');42|round;42|round(-1);45|round(-1);55|round(-1);1234.5|round(-2);0.125|round(2)
1.25|round(1);1.35|round(1);-0.5|round;1e300|round(2);2.4|round(1,'ceil');2.45|round(1,'floor');2|round(2);'a'|round;2.5|round(1,'x');true|round;5|round(1,'ceil')
l|select('odd')|list;l|select|list;[0,1,none,'a',[]]|select|list;l|select('gt',1)|list;l|select('in',[1,3])|list;words|select('match')|list;l|select('nope')|list
rows|selectattr('v','eq',1)|map(attribute='n')|list;rows|selectattr('t.u','defined')|list|length;rows|selectattr('v')|list|length;rows|selectattr('n','in',['x'])|list|length
messages|selectattr('role','equalto','user')|map(attribute='content')|list;rows|selectattr('v','gt',1)|list|length;rows|selectattr('zz')|list;rows|selectattr|list
[1,2,3,4,5]|slice(2)|list;[1,2,3,4,5]|slice(3,'x')|list;[1]|slice(3)|list;[]|slice(2)|list;[1]|slice(0)|list;'abcde'|slice(2)|list;[1,2,3]|slice(slices=2,fill_with=0)|list
l|sort;l|sort(true);l|sort(reverse=true);words|sort;words|sort(case_sensitive=true);rows|sort(attribute='v')|map(attribute='n')|list;rows|sort(attribute='v,n')|map(attribute='n')|list
rows|sort(attribute='t.u')|list;[3,'a']|sort;'bca'|sort;d|sort;[(2,'a'),(1,'b')]|sort;[(2,'a'),(1,'b')]|sort(attribute=1);[none,1]|sort;rows|sort(false,false,'v')|map(attribute='v')|list
[[2],[1,5]]|sort;[true,0]|sort;5|string;none|string;[1,'a']|string;html|safe|string;1.0|string;html|striptags;'<b>x</b>  y\\n z'|striptags;'a<b'|striptags;5|striptags
'&lt;b&gt; &amp;amp; &nbsp;x&#39;&quot;'|striptags;'<!-- a'|striptags;l|sum;[]|sum;[1.5,2]|sum;rows|sum(attribute='v');rows|sum('v',10);[[1],[2]]|sum(start=[]);['a']|sum;['a']|sum(start='')
'hello world-wide (web) [x] {y} <z> it\\'s'|title;'ǆ'|title;5|title;'FOO bAR'|title;'  a '|trim;'xxaxx'|trim('x');5|trim;'abcba'|trim(chars='ab');' a'|trim(none)
'foo bar baz qux'|truncate(9);'foo bar baz qux'|truncate(9,true);'foo bar baz qux'|truncate(11);'foo bar baz qux'|truncate(11,false,'...',0);'foo bar'|truncate(5,end='!')
'foobarbazqux'|truncate(6,leeway=0);'a'|truncate(2);'ab cd ef gh'|truncate(3,false,'');l|truncate(1);'x'*300|truncate|length;'foo'|truncate(length=3,leeway=-1);'é中😀 x y z w v u t s'|truncate(6,leeway=0)
words|unique|list;words|unique(true)|list;l|unique|list;rows|unique(attribute='v')|map(attribute='n')|list;[1,1.0,true,'1']|unique|list;[[1]]|unique|list;'hello'|unique|join
'abc'|upper;5|upper;'ß'|upper;'a b/c?d=é&'|urlencode;{'a':1,'b c':'d&é/'}|urlencode;[('a','b'),('c',1)]|urlencode;5|urlencode;none|urlencode;['ab']|urlencode;''|urlencode
'see http://example.com, or www.foo.org/x?y=1.'|urlize;'(https://a.io) <me@x.org> mailto:a@b.cc example.com foo.bar'|urlize;'http://example.com/'|urlize(10);'http://a.com'|urlize(nofollow=true)
'http://a.com'|urlize(target='_blank',rel='me you');'tel:123 ftp://x'|urlize(extra_schemes=['tel:','ftp://']);'http://127.0.0.1:80/x http://[::1]/ http://localhost'|urlize;5|urlize
'a b-c d_e f.g'|wordcount;''|wordcount;s|wordcount;'é中 😀 1'|wordcount;5|wordcount;s|wordwrap(10);s|wordwrap(10,false);s|wordwrap(width=8,wrapstring='|');'abcdefghij klm'|wordwrap(4)
'abcdefghij klm'|wordwrap(4,false);'a-b-c-d well-known--thing'|wordwrap(6);'a-b-c-d well-known--thing'|wordwrap(6,break_on_hyphens=false);'x\\n\\ny'|wordwrap(3);''|wordwrap;5|wordwrap;'a'|wordwrap(0)
'  lead  and   gaps here'|wordwrap(9);'one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen'|wordwrap;{'a':1,'b':none,'c':'<"'}|xmlattr
{'a':1}|xmlattr(false);{}|xmlattr;{'a b':1}|xmlattr;{'a':undef,'b':true}|xmlattr(autospace=true);5|xmlattr;d|tojson;messages[1]|tojson;[1,2]|tojson(indent=2);{'a':{'b':[]},'c':{}}|tojson(indent=2)
{'b':1,'a':2}|tojson(sort_keys=true);'é<>&\\'"'|tojson;'é😀'|tojson(ensure_ascii=true);[1,{'a':2}]|tojson(separators=(',',':'));[1,2]|tojson(indent=1,separators=('; ','= '));[1]|tojson(indent='--')
1.0|tojson;1e20|tojson;none|tojson;true|tojson;(1,(2,))|tojson;{1:2,1.5:3,true:4,none:5}|tojson;{(1,2):3}|tojson;undef|tojson;range(2)|tojson;html|safe|tojson;1e400|tojson;l|map('abs')|tojson
d|tojson(true);d|tojson(indent=none);d|tojson(foo=1);[]|tojson(indent=2);[[],{}]|tojson(indent=0);'\\u2028\\x7f\\x00\\x1f\\b\\f'|tojson;{'b':1,2:1}|tojson(sort_keys=true);d|tojson(false,4);d.items()|tojson
l|random in l;[]|random is undefined;'a'|random;5|random;lipsum(1,false)|length > 0;lipsum(n=2)|string is string;1|nope;l|list|list;d|keys;'a'|upper|lower|title;l|first|string|length;1|default
""".replace("\n", ";")

TESTS = """
odd even defined undefined filter test none boolean false true integer float lower upper string mapping number sequence iterable
callable escaped divisibleby(3) sameas(none) in([1,'a',none]) ==(1) eq('a') equalto(1.0) !=(1) ne(1) >(0) gt(0) greaterthan(0) ge(1)
>=(1) <(2) lt(2) lessthan(2) <=(1) le(1) nope eq
""".split()
TESTED = "1|2.5|'a'|'A'|'upper'|'odd'|''|none|true|[1]|(1,)|{'a':1}|undef|range(2)|d.items()|l.index|('x'|safe)|namespace()|cycler(1)|(l|map('abs'))|dict|raise_exception|'a'.encode()"
VALUES = ["1", "'a'"]

TEMPLATES = r"""
{% for g in messages|groupby('role') %}{{ g.grouper }}:{{ g.list|length }} {% endfor %}
{% for k, g in rows|groupby('v') %}{{ k }}={{ g|length }};{% endfor %}
{{ '{% generation %}' }}|{% generation %}a{{ 1 }}{% endgeneration %}
{% raw %}{% generation %}{{ x }}{% endgeneration %}{# c #}{% endraw %}
{# {% generation %} {{ x }} #}a
{% for m in messages %}{% generation %}{{ m.role }}{% set x = 1 %}{% endgeneration %}{{ x }}{% endfor %}
{%- generation -%}  a  {%- endgeneration -%}  b
{% set c = cycler('a','b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}{{ c.reset() }}{{ c.next() }}
{% set j = joiner(', ') %}{% for x in l %}{{ j() }}{{ x }}{% endfor %}|{{ joiner().sep }}
{%- macro f(x) -%}{{ x }}{{ varargs }}{{ kwargs }}{%- endmacro -%}{{ f(1,2,3,a=4) }}{{ f() }}
{%- macro f(x, y=2, z=x) -%}{{ x }}{{ y }}{{ z }}{%- endmacro -%}{{ f(1) }} {{ f(1,3) }} {{ f(z=5,x=0) }} {{ f() }}
{%- macro f(x) -%}{{ x }}{%- endmacro -%}{{ f(1,2) }}
{%- macro f(x) -%}{{ x }}{%- endmacro -%}{{ f(y=2) }}
{%- macro f(x) -%}{{ x }}{%- endmacro -%}{{ f(1, x=2) }}
{%- macro f(x, y=1) -%}{%- endmacro -%}{{ f.name }} {{ f.arguments }} {{ f.catch_kwargs }} {{ f.catch_varargs }} {{ f.caller }} {{ f }}
{%- macro f(x) -%}[{{ caller(x) }}]{%- endmacro -%}{% call(y) f(5) %}<{{ y }}>{% endcall %}
{%- macro f() -%}[{{ caller() }}]{%- endmacro -%}{% call f() %}{{ n }}{% endcall %}{{ f() }}
{%- macro f() -%}{{ caller is defined }}{%- endmacro -%}{{ f() }}
{%- macro f(x) -%}{{ x }}{{ outer }}{%- endmacro -%}{% set outer = 1 %}{{ f(0) }}{% set outer = 2 %}{{ f(0) }}
{%- macro f(n) -%}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{%- endmacro -%}{{ f(5) }}
{%- macro f() -%}{% set y = 1 %}{{ y }}{%- endmacro -%}{{ f() }}{{ y }}
{%- macro f() -%}  {{ 1 }}  {% endmacro %}|{{ f() }}|{{ f()|trim }}|
{% macro f(a) %}{% macro g(b) %}{{ a }}{{ b }}{% endmacro %}{{ g(2) }}{% endmacro %}{{ f(1) }}
{{ f(1) }}{% macro f(a) %}{{ a }}{% endmacro %}
{% macro f(a, a) %}{% endmacro %}
{% macro f(a=1, b) %}{% endmacro %}
{% macro f(caller) %}{% endmacro %}
{% macro f(caller=none) %}{{ caller is none }}{% endmacro %}{{ f() }}
{% macro m(kwargs) %}{{ kwargs }}{% endmacro %}{{ m(1) }}
{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set a, b = b, a %}{{ a }}{{ b }}
{% set a, b = [1] %}
{% set (a, b), c = [1, 2], 3 %}{{ a }}{{ b }}{{ c }}
{% set a = 1, 2 %}{{ a }}
{% set a = 1, %}{{ a }}
{% set x %}a{{ 1 }}b{% endset %}[{{ x }}]{{ x is string }}
{% set x | upper | replace('A', 'z') %}a{{ 1 }}b{% endset %}[{{ x }}]
{% set x | length %}abc{% endset %}{{ x + 1 }}
{% set ns = namespace(a=1, l=[]) %}{% for i in range(3) %}{% set ns.a = ns.a + i %}{% set ns.l = ns.l + [i] %}{% endfor %}{{ ns.a }}{{ ns.l }}{{ ns }}
{% set ns = namespace({'a':1}, b=2) %}{{ ns.a }}{{ ns.b }}{% set ns.c = 3 %}{{ ns.c }}{{ ns['a'] }}
{% set ns = namespace() %}{% set ns.a, b = 1, 2 %}{{ ns.a }}{{ b }}
{% set ns = namespace() %}{% set ns._a = 1 %}
{% set d.x = 1 %}
{% set foo.x = 1 %}
{% set ns = namespace() %}{% set ns.x %}cap{{ 1 }}{% endset %}{{ ns.x }}
{% set x = 1 %}{% for i in l %}{% set x = x + i %}{{ x }}{% endfor %}{{ x }}
{% for i in l %}{{ x }}{% set x = i %}{{ x }}{% endfor %}
{% for i in l %}{{ tools is defined }}{% endfor %}{% set tools = 1 %}{{ tools }}
{% if no %}{% set tools = 1 %}{% endif %}{{ tools|length }}
{% if no %}{% set zz = 1 %}{% endif %}{{ zz }}{{ zz is defined }}
{% if yes %}{% set zz = 1 %}{% else %}{% set zz = 2 %}{% endif %}{{ zz }}
{% for i in l if i > 1 %}{{ loop.index }}{{ i }}{{ loop.last }}{{ loop.length }} {% else %}none{% endfor %}
{% for i in [] %}{% else %}none{{ n }}{% endfor %}
{% for i in l %}{% if i == 3 %}{% continue %}{% endif %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% else %}E{% endfor %}
{% for i in l %}{% break %}{% else %}E{% endfor %}
{% for i in l %}{% continue %}{% else %}E{% endfor %}
{% break %}
{% for i in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }}{{ loop.depth0 }} {% endfor %}
{% for i in l %}{{ loop.previtem }}<{{ i }}>{{ loop.nextitem }} {% endfor %}
{% for i in l %}{{ loop.previtem is defined }}{{ loop.nextitem|default('-') }}{{ loop.cycle('a','b') }}{{ loop.changed(i) }} {% endfor %}
{% for i in [1,1,2,2,1] %}{{ loop.changed(i) }} {% endfor %}
{% for i in l %}{{ loop }}{{ loop.foo }}{% endfor %}
{% for i in l %}{{ loop.cycle() }}{% endfor %}
{% for i in l %}{% set outer = loop %}{% for j in [1,2] %}{{ outer.index }}{{ loop.index }} {% endfor %}{% endfor %}
{% for i in l|map('abs') %}{{ loop.length }}{{ loop.last }}{{ loop.revindex }} {% endfor %}
{% for i in l|map('abs') %}{{ loop.last }}{{ loop.length }} {% endfor %}
{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}
{% for k in d %}{{ k }}{% endfor %}{% for k in d.values() %}{{ k }}{% endfor %}
{% for a, b in [[1,2],[3,4]] %}{{ a }}{{ b }}{% endfor %}{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}
{% for a, b in [[1,2],[3]] %}{{ a }}{{ b }}{% endfor %}
{% for a, b in l %}{{ a }}{{ b }}{% endfor %}
{% for i in 5 %}{% endfor %}
{% for i in none %}{% endfor %}
{% for i in undef %}x{% else %}e{% endfor %}
{% for c in 'aé😀' %}{{ c }},{% endfor %}
{% for i in 1, 2, 3 %}{{ i }}{% endfor %}
{% for x in tree recursive %}{{ x.v }}{% if x.c %}({{ loop(x.c) }}){% endif %}{{ loop.depth }}{% endfor %}
{% for x in tree recursive %}{{ x.v }}[{{ loop(x.c) }}]{% else %}-{% endfor %}
{% for x in l %}{{ loop(1) }}{% endfor %}
{% for loop in l %}{% endfor %}
{% for i in l %}{% set loop = 1 %}{{ loop }}{% endfor %}
{% for i in l if loop.index > 1 %}{{ i }}{% endfor %}
{% set ns = namespace(f=true) %}{% for i in l if ns.f %}{{ i }}{% set ns.f = false %}{% endfor %}
{% for i in range(3) %}{% for j in range(i) %}{{ i }}{{ j }} {% endfor %}{% endfor %}{{ i }}{{ j }}
{% for i in l %}{{ i }}{{ ',' if not loop.last }}{% endfor %}
{% for i in l | sort %}{{ i }}{% endfor %}{% for i in (l | sort)[:2] %}{{ i }}{% endfor %}
{% for i in l if i is odd %}{{ i }}{% endfor %}
{% for i in (l if yes else []) %}{{ i }}{% endfor %}
{% for i in l if yes else [] %}{{ i }}{% endfor %}
{% with a = 1, b = 2 %}{{ a }}{{ b }}{% endwith %}{{ a }}
{% with a = n, n = 5 %}{{ a }}{{ n }}{% endwith %}{{ n }}
{% with %}{% set q = 1 %}{{ q }}{% endwith %}{{ q }}
{% with a, b = l[:2] %}{{ a }}{{ b }}{% endwith %}
{% filter upper %}abc{{ n }}{% endfilter %}{% filter replace('a', 'b')|upper %}aab{% endfilter %}
{% filter length %}abc{% endfilter %}
{% filter nope %}abc{% endfilter %}
{% filter upper %}{% set q = 1 %}{{ q }}{% endfilter %}{{ q }}
{% if n == 42 %}a{% elif n == 43 %}b{% else %}c{% endif %}{% if n > 42 %}a{% elif n == 42 %}b{% else %}c{% endif %}{% if no %}a{% endif %}
{% if no %}{{ 1|nope }}{% endif %}ok
{% if yes %}{{ 1|nope }}{% endif %}
{% for i in [] %}{{ 1|nope }}{% endfor %}
{{ (1|nope) if no else 2 }}
{% if 1 is nope %}{% endif %}
{% if l %}x{% endif %}{% if not d %}y{% endif %}{% if undef %}z{% endif %}{% if '' or 0 %}q{% endif %}
{% print 1, 2 %}{% print n %}
{% do l.append(1) %}
{% autoescape true %}{{ html }}{{ html|safe }}{{ '<' ~ (html|safe) }}{{ ['<', '>'|safe]|join('&') }}{% endautoescape %}{{ html }}
{% autoescape true %}{% set x %}<{{ '<' }}{% endset %}{{ x }}{% macro m() %}<{% endmacro %}{{ m() }}{% endautoescape %}
{{ '<'|e + '>' }}{{ '<' + ('>'|e) }}{{ ('%s'|safe) % '<' }}{{ ('{}'|safe).format('<') }}{{ ('<'|safe).upper() ~ '<' }}{{ ('a'|safe).join(['<', '>'|safe]) }}
{{ ('<a>'|safe)|list }}{{ [('<'|safe)] }}{{ ('&lt;b'|safe).unescape() }}{{ ('<b>x'|safe).striptags() }}{{ ('a'|safe) == 'a' }}{{ ('<'|safe) * 2 }}
{{ ('a-b'|safe).split('-') }}{{ ('a'|safe)[0] is escaped }}{{ ('a'|e ~ 'b') is escaped }}{{ ('x%(a)sx'|safe) % {'a': '<'} }}{{ ('a'|safe).replace('a', '<') }}
{% block a %}A{{ n }}{% endblock %}{{ self.a() }}
{% set v = 1 %}{% block a %}{{ v }}{% endblock %}{% for i in l %}{% block b %}{{ i }}{% endblock %}{% block c scoped %}{{ i }}{% endblock %}{% endfor %}
{% block a %}{% set bv = 1 %}{{ bv }}{% endblock %}{% block b %}{{ bv }}{% endblock %}{{ bv }}
{% block a %}{% endblock a %}{% block a %}{% endblock %}
{% block a required %}x{% endblock %}
{% block a %}{{ super() }}{% endblock %}
{% include 'x' %}
{% include 'x' ignore missing %}
{% import 'x' as y %}
{% from 'x' import y %}
{% extends 'x' %}
{% if no %}{% include 'x' %}{% endif %}ok
{% set größe = 3 %}{{ größe }}{% set 変数 = 4 %}{{ 変数 }}{{ {'ключ': 5}.ключ }}
{% set a-b = 1 %}
{% set 1a = 1 %}
{% set true = 1 %}
{% set x = 5 %}{{ x if x is defined else 'no' }}
{{ range(3)|map('string')|join(',') }}{% set it = l|map('abs') %}{{ it|list }}{{ it|list }}
{% set it = l|map('string') %}{{ it|first }}{{ it|list }}
{% set it = [1,'a']|map('abs') %}{{ it|first }}
{{ [1,'a']|map('abs')|list }}
{{ l|select('foo') is defined }}
{% set x = namespace(n=0) %}{% for m in messages %}{% if m.role == 'user' %}{% set x.n = loop.index0 %}{% endif %}{% endfor %}{{ x.n }}
{%- for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}
{% for message in messages %}{% if loop.first and message.role != 'system' %}S{% endif %}{{ message.role ~ ': ' ~ message.content|trim }}{% if not loop.last %}{{ '\n\n' }}{% endif %}{% endfor %}
{{ messages[2].tool_calls[0].function.arguments|tojson }}{{ messages[2]['tool_calls'][0]['function']['arguments'].items()|list }}
{% for t in tools %}{{ t|tojson(indent=4) }}{% endfor %}
{%- if tools is iterable and tools|length > 0 %}T{% endif %}{%- if tools is not none and tools %}U{% endif %}
{{ raise_exception('nope') if no }}{{ raise_exception is callable }}
{% if messages[0].role != 'user' %}{{ raise_exception('First must be user') }}{% endif %}
{{ messages|map(attribute='role')|join(' ') }}{{ messages|selectattr('role', 'eq', 'user')|list|length }}{{ (messages|last).content }}{{ (messages|first)['role'] }}
{{- 'a' -}}   {{ 'b' }}
a {%- if yes %} b {%+ endif -%} c
  {% if yes %}x{% endif %}
  {%+ if yes %}x{% endif +%}
y
{{ 'a' }}   {# c #}
   {# d #}
b
{% if yes -%}

   x
{%- endif %}

a{% raw %}  {{ x }} {% endraw %}b
a{% raw -%}   {{ x }}   {%- endraw %}   b
a{%- raw %} x {% endraw -%}   b
{% raw %}{% raw %}{% endraw %}
{{ '{{ }}' }}{{ "{% %}" }}{{ '#}' }}{{ '}}' }}
{{ {'a': {'b': 1}}['a']['b'] }}{{ {'a': {'b': {}}} }}
{{ 1 }}{ 2 }{% if 1 %}{%%}{% endif %}
{{ }}
{{ 1 2 }}
{% if %}{% endif %}
{% for %}{% endfor %}
{% endif %}
{% if yes %}
{% nope %}
{{ 'a }}
{# a
{% raw %}
{{ a b }}
{{ a. }}
{{ a[ }}
{{ a! }}
{{ $ }}
{{ 'a' | }}
{{ 1 is }}
{{ f(a=1, 2) }}
{{ f(*l, *l) }}
{{ f(a=1, a=2) }}
{{ [1,,2] }}
{% set %}{% endset %}
{% macro %}{% endmacro %}
{% macro f %}{% endmacro %}
{% call n %}{% endcall %}
{%- macro f() -%}{{ varargs|length }}{{ kwargs }}{%- endmacro -%}{{ f(*l, **{'a': 1}) }}{{ f(*[1], b=2, **{'c': 3}) }}{{ f(**{1: 2}) }}
{%- macro f() -%}{{ varargs }}{%- endmacro -%}{{ f(*'ab') }}{{ f(*5) }}
{% set x = 'é' %}{{ x|length }}{{ x.encode('utf-8')|length }}{{ x.upper() }}
{% for m in messages %}{% if m.content is string %}{{ m.content[:2] }}{% elif m.content is iterable %}L{% endif %}{% endfor %}
{% set content = messages[1].content %}{{ content.split('<')[-1].lstrip('m').rstrip('\n') }}{{ content.strip().endswith('"') }}
{% if 'tool_calls' in messages[2] and messages[2].tool_calls is not none %}{{ messages[2].tool_calls[0].function.name }}{% endif %}
{{ "a" if "x" in d else "b" }}{{ d.get('b', 0) + 1 }}{{ d['a'][1:] }}{{ not d }}
{{ lipsum(0) }}{{ lipsum(n=1, html=false, min=1, max=2)|length > 2 }}
{{ 'a\tb' }}{{ "a\\nb" }}{{ 'a\'b' }}{{ "\"" }}
{{ 1.0 }}{{ 1.50 }}{{ 100000000000000000.0 }}{{ 1e-10 }}{{ 0.1 * 3 }}{{ 2.0 ** 0.5 }}{{ 10 / 5 }}{{ 2 ** 0.5 }}
{{ [1.0, 1e20, -0.0, 1e-7] }}{{ {'a': 1.0} }}{{ (none, true) }}{{ [[], {}, ()] }}
{{ true + 1 }}{{ true * 3 }}{{ [true, 1]|unique|list }}{{ 'a' * true }}{{ l[true:] }}
{% for a in l %}{% for b in words %}{% if loop.first %}{% continue %}{% endif %}{{ b[0] }}{% if loop.index == 3 %}{% break %}{% endif %}{% endfor %};{% endfor %}
{%- set q = [] -%}{% for i in l %}{% set q = q + [i] %}{% endfor %}{{ q }}
{%- for m in messages -%}
    {%- if m.role == "user" %}
        {{- "U:" + m.content }}
    {%- else %}
        {{- "O" }}
    {%- endif %}
{%- endfor %}
"""


# Bars between expressions. A bar before a filter is part of the expression.
FILTER_NAMES = "list|length|string|int|tojson|upper|join|first|abs|odd|safe|items|float"
EXPRESSION_FILTER = re.compile(rf"\|(?!(?:{FILTER_NAMES})\b(?!\())|\|(?=(?:int|str|abs)\()")


def split_bars(text: str, separator: str) -> list[str]:
    """Splits at separators that are neither within quotes nor the bar of a filter."""
    parts, start, depth, quote, at = [], 0, 0, "", 0
    while at < len(text):
        c = text[at]
        if quote:
            if c == "\\":
                at += 1
            elif c == quote:
                quote = ""
        elif c in "'\"":
            quote = c
        elif c == separator and (separator != "|" or not text[at + 1 : at + 2].isspace()):
            parts.append(text[start:at])
            start = at + 1
        at += 1
    return [*parts, text[start:]]


def templates() -> list[str]:
    """The lines of TEMPLATES. A line that begins with one of `together` belongs to the line before it."""
    blocks: list[str] = []
    together = ["  {% if yes", "  {%+ if yes", "y\n", "   {# d", "b\n", "\n", "   x\n", "{%- endif %}\n", "    {", "        {", "{%- endfor %}\n"]
    for line in TEMPLATES.strip("\n").splitlines(keepends=True):
        if blocks and any(line.startswith(start) for start in together):
            blocks[-1] += line
        else:
            blocks.append(line)
    return [block[:-1] for block in blocks] + [block for block in blocks if block.count("\n") > 1]


def cases() -> Iterator[str]:
    yield from templates()
    for template in templates():
        if "\n" in template:
            yield template.replace("\n", "\r\n")
            yield template.replace("\n", "\r")
    for line_end in ["\r\n", "\r", "\n\r", "\n"]:
        yield f"a{line_end}{{% if yes %}}{line_end}b{line_end}{{% endif %}}{line_end}{{{{ 'c{line_end}d' }}}}{line_end}{line_end}"
    for text, method in product(TEXTS, METHODS):
        yield f"{{{{ {text}.{method} }}}}"
    for expression in split_bars(FORMATS, "|") + split_bars(FORMAT_CALLS, "|"):
        yield f"{{{{ {expression} }}}}"
    for spec, value in product(SPECS, ["42", "-1234567", "3.14159", "-0.0", "1e20", "true", "'abc'", "none"]):
        inner = spec.strip("'")
        yield f"{{{{ '{{:{inner}}}'.format({value}) }}}}"
    for expression in EXPRESSION_FILTER.split(EXPRESSIONS.strip("|")):
        yield f"{{{{ {expression} }}}}"
    for expression in split_bars(FILTERS, ";"):
        if expression:
            yield f"{{{{ {expression} }}}}"
    for test, value in product(TESTS, split_bars(TESTED.replace("|'", "\0'").replace("|safe", "\1safe").replace("|map", "\1map").replace("|", "\0"), "\0")):
        yield "{{ " + value.replace("\1", "|") + f" is {test} }}}}"
