"""What a query is about, as far as the protocol must know: does it answer with rows, or wait for them?

chdb's SQL is ClickHouse's, but a library may do what a server must not: several statements at once,
files of the machine, objects of this process. Those are refused here. This keeps honest SQL the same in
development and production; it is no wall against somebody who already holds the password.
"""

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple

from surge_site.engines.clickhouse_bridge.errors import Code, ServerError

_TOKEN = re.compile(
    r"""(?P<space>\s++|--[^\n]*+|\#[\s!][^\n]*+|/\*.*?\*/)
      | (?P<text>'(?:[^'\\]++|\\.|'')*+')
      | (?P<quoted>`(?:[^`\\]++|\\.|``)*+`|"(?:[^"\\]++|\\.|"")*+")
      | (?P<heredoc>\$(\w*)\$.*?\$\5\$)
      | (?P<word>[^\W\d]\w*+)
      | (?P<number>\d[\w.]*+)
      | (?P<sign>.)""",
    re.DOTALL | re.VERBOSE,
)
_ROWS = frozenset({"SELECT", "WITH", "FROM", "("})
_READS = _ROWS | {"SHOW", "DESCRIBE", "DESC", "EXPLAIN", "EXISTS", "USE", "SET"}
_OUTSIDE = re.compile(  # table functions and engines that leave the database
    r"""(arrowstream|azure.*|bigquery|cluster|clusterallreplicas|cosn|deltalake.*|eval|executable|executablepool
    |file|filecluster|filelog|filesystem|gcs|hdfs.*|hive|hudi.*|iceberg.*|jdbc|kafka|mongodb|mysql|nats|odbc|oss
    |paimon.*|(materialized)?postgresql|prometheus.*|python|queryrunner|rabbitmq|redis|remote|remotesecure
    |s3|s3cluster|s3queue|sqlite|url|urlcluster|ytsaurus)""",
    re.IGNORECASE | re.VERBOSE,
)
_NAMES_FOLLOW = frozenset({"INTO", "EXISTS", "."})  # then `file (` is a table with a list of columns


class Kind(Enum):
    ROWS = auto()  # a SELECT: its answer is streamed
    INSERT = auto()  # waits for the client's blocks
    WHOLE = auto()  # everything else: run, then answer


class Token(NamedTuple):
    kind: str
    text: str
    start: int
    end: int

    @property
    def word(self) -> str:
        """The token as a keyword; quoted names and texts are never keywords."""
        return self.text.upper() if self.kind in ("word", "sign") else ""

    @property
    def name(self) -> str:
        return self.text[1:-1].replace("``", "`").replace('""', '"') if self.kind == "quoted" else self.text


@dataclass(frozen=True)
class InsertTarget:
    """INSERT INTO `table` (`columns`): no columns means all, `excluded` is what `* EXCEPT (...)` names."""

    sql: str
    table: str
    columns: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()


@dataclass(frozen=True)
class Statement:
    kind: Kind
    keyword: str
    text: str
    target: InsertTarget | None = None

    @property
    def only_reads(self) -> bool:
        return self.keyword in _READS


def parse_statement(sql: str) -> Statement:
    """Return what the protocol must know about one statement; its SQL is checked by the engine, not here.

    Raises ServerError for several statements in one query, and for what a server does not do.
    """
    tokens = tokens_of(sql)
    if not tokens:
        raise ServerError.own(Code.SYNTAX_ERROR, "Syntax error: Empty query")
    keyword = tokens[0].word
    if keyword == "INSERT":
        body = _insert_body(tokens)
        if body is not None:
            return _insert(sql, tokens, body)
    tokens, sql = _one_statement(tokens, sql)
    _refuse_outside(tokens)
    _refuse_shutdown(tokens)
    return Statement(Kind.ROWS if keyword in _ROWS else Kind.WHOLE, keyword, _without_format(sql, tokens))


def tokens_of(sql: str) -> list[Token]:
    found = _TOKEN.finditer(sql)
    return [Token(str(m.lastgroup), m[0], m.start(), m.end()) for m in found if m.lastgroup != "space"]


def _one_statement(tokens: list[Token], sql: str) -> tuple[list[Token], str]:
    ends = [index for index, token in enumerate(tokens) if token.word == ";"]
    if not ends:
        return tokens, sql
    first = ends[0]
    if any(token.word != ";" for token in tokens[first:]):
        raise ServerError.own(
            Code.SYNTAX_ERROR, "Syntax error: Multi-statements are not allowed: send one statement per query"
        )
    return tokens[:first], sql[: tokens[first].start]


def _depths(tokens: list[Token]) -> list[int]:
    depth, depths = 0, []
    for token in tokens:
        depth -= token.word == ")"
        depths.append(depth)
        depth += token.word == "("
    return depths


def _without_format(sql: str, tokens: list[Token]) -> str:
    """Leave a final `FORMAT name` out: over the native protocol it is the client's affair."""
    for index, depth in enumerate(_depths(tokens)):
        after = tokens[index + 1 : index + 3]
        is_format = depth == 0 and tokens[index].word == "FORMAT" and after and after[0].kind == "word"
        if is_format and index > 0 and (len(after) == 1 or after[1].word == "SETTINGS"):
            return sql[: tokens[index].start] + sql[after[0].end :]
    return sql


def _refuse_outside(tokens: list[Token]) -> None:
    words = ["", *(token.word for token in tokens), ""]
    names_follow = _NAMES_FOLLOW | ({"TABLE"} if words[1] in ("CREATE", "INSERT") else set())
    for token, before, after in zip(tokens, words, words[2:], strict=False):
        if after == "(" and before not in names_follow and _is_outside(token):
            raise _denied(f"{token.text}(...) reaches outside of the database")
        if token.kind == "quoted" and (token.name.startswith("/") or "../" in token.name):
            raise _denied(f"the name {token.text} is a path")
        if before in ("FROM", "JOIN") and token.kind == "text":
            raise _denied(f"{token.text} after {before} is a file")
        if (before, token.word) in (("INTO", "OUTFILE"), ("FROM", "INFILE")):
            raise _denied(f"{before} {token.word} works with files")


def _is_outside(token: Token) -> bool:
    return token.kind in ("word", "quoted") and _OUTSIDE.fullmatch(token.name) is not None


def _denied(what: str) -> ServerError:
    return ServerError.own(
        Code.ACCESS_DENIED, f"Not enough privileges: {what}. Read the data in the client and insert it as rows"
    )


def _refuse_shutdown(tokens: list[Token]) -> None:
    if [token.word for token in tokens[:2]] in (["SYSTEM", "SHUTDOWN"], ["SYSTEM", "KILL"]):
        raise ServerError.own(Code.NOT_IMPLEMENTED, "Stop the embedded ClickHouse by stopping its process")


def _insert_body(tokens: list[Token]) -> int | None:
    """The index of VALUES or FORMAT; None when the rows come from a SELECT (or the statement is wrong)."""
    for index, depth in enumerate(_depths(tokens)):
        if depth or index < 3:  # INSERT INTO name: a table may be called `values`
            continue
        if tokens[index].word in ("SELECT", "WITH", "FROM"):
            return None
        if tokens[index].word in ("VALUES", "FORMAT"):
            return index
    return None


def _insert(sql: str, tokens: list[Token], body: int) -> Statement:
    rest = tokens[body + (2 if tokens[body].word == "FORMAT" else 1) :]
    head = tokens[:body]
    _refuse_outside(tokens)
    if all(token.word == ";" for token in rest):
        return Statement(Kind.INSERT, "INSERT", sql, _insert_target(sql[: tokens[body].start], head))
    if tokens[body].word == "FORMAT":
        raise ServerError.own(
            Code.NOT_IMPLEMENTED, "Rows inside of the query need VALUES: or send them as the query's data"
        )
    _, text = _one_statement(tokens, sql)
    return Statement(Kind.WHOLE, "INSERT", text)


def _insert_target(sql: str, head: list[Token]) -> InsertTarget:
    start = 2 + (head[2].word == "TABLE" and len(head) > 3)
    is_function = head[start].word == "FUNCTION" and len(head) > start + 1
    start += is_function
    end = start + 1
    while end + 1 < len(head) and head[end].word == ".":
        end += 2
    if is_function:
        end = _closing(head, end) + 1
    table = sql[head[start].start : head[end - 1].end]
    columns = head[end + 1 : _closing(head, end)] if end < len(head) and head[end].word == "(" else []
    return _with_columns(sql, table, columns)


def _with_columns(sql: str, table: str, tokens: list[Token]) -> InsertTarget:
    if not tokens or [token.word for token in tokens] == ["*"]:
        return InsertTarget(sql, table)
    if tokens[0].word == "*" and len(tokens) > 2 and tokens[1].word == "EXCEPT":
        named = [token for token in tokens[2:] if token.word not in ("(", ")")]
        return InsertTarget(sql, table, excluded=_names(named))
    return InsertTarget(sql, table, columns=_names(tokens))


def _names(tokens: list[Token]) -> tuple[str, ...]:
    names = [""]
    for token in tokens:
        if token.word == ",":
            names.append("")
        elif token.kind in ("word", "quoted") or token.word == ".":
            names[-1] += token.name
        else:
            raise ServerError.own(
                Code.NOT_IMPLEMENTED, f"Name the columns of INSERT one by one: {token.text} is not understood here"
            )
    return tuple(names)


def _closing(tokens: list[Token], opening: int) -> int:
    """The index of the bracket that closes the one at `opening`."""
    depth = 0
    for index in range(opening, len(tokens)):
        depth += {"(": 1, ")": -1}.get(tokens[index].word, 0)
        if depth == 0:
            return index
    raise ServerError.own(Code.SYNTAX_ERROR, f"Syntax error: a bracket of {tokens[0].text} is never closed")
