"""Reads the status page's HTML into something a test can ask questions of. Strict about nesting."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

BLOCKS = {
    "p",
    "li",
    "td",
    "th",
    "tr",
    "div",
    "dt",
    "dd",
    "h1",
    "h2",
    "section",
    "ul",
    "dl",
    "table",
    "caption",
}
VOID = {"meta", "link", "br", "hr", "img", "input", "source", "col", "wbr"}


@dataclass
class Element:
    """One element: attributes (None for those without a value), children, and the text directly inside."""

    tag: str
    attrs: dict[str, str | None]
    parent: Element | None = None
    children: list[Element] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)

    def walk(self) -> list[Element]:
        """This element and everything below it, in document order."""
        found = [self]
        for child in self.children:
            found += child.walk()
        return found

    @property
    def text(self) -> str:
        """Everything a reader of this element reads, on one line."""
        return " ".join("".join(self._texts()).split())

    @property
    def raw(self) -> str:
        """The text character by character."""
        return "".join(piece for element in self.walk() for piece in element.pieces)

    def _texts(self) -> list[str]:
        below = [text for child in self.children for text in child._texts()]
        return [" ", *below, " "] if self.tag in BLOCKS else [*self.pieces, *below]

    @property
    def inside_template(self) -> bool:
        """True for the blank rows the script copies."""
        return self.tag == "template" or (self.parent is not None and self.parent.inside_template)


class Document(HTMLParser):
    """The parsed page. Raises AssertionError for a tag that closes another one."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("#document", {})
        self._open = self.root
        self.declarations: list[str] = []
        self.feed(html)
        self.close()
        assert self._open is self.root, f"<{self._open.tag}> is never closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(attrs) == len(dict(attrs)), f"<{tag}> repeats an attribute"
        element = Element(tag, dict(attrs), self._open)
        self._open.children.append(element)
        if tag not in VOID:
            self._open = element

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open.children.append(Element(tag, dict(attrs), self._open))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.tag == tag, f"</{tag}> closes <{self._open.tag}>"
        assert self._open.parent is not None
        self._open = self._open.parent

    def handle_data(self, data: str) -> None:
        self._open.children.append(Element("#text", {}, self._open, pieces=[data]))

    def handle_decl(self, decl: str) -> None:
        self.declarations.append(decl)

    def all(self) -> list[Element]:
        """Every element of the page, without text nodes."""
        return [element for element in self.root.walk() if not element.tag.startswith("#")]

    def by_id(self, name: str) -> Element:
        """The one element with this id."""
        (found,) = [element for element in self.all() if element.attrs.get("id") == name]
        return found

    def rows(self, name: str) -> list[Element]:
        """The rows of a list, without its blank one."""
        (blank,) = [element for element in self.all() if element.attrs.get("data-rows") == name]
        assert blank.parent is not None
        return [row for row in blank.parent.children if not row.tag.startswith("#") and row is not blank]

    @property
    def shape(self) -> list[tuple[str, tuple[str, ...]]]:
        """Tags and attribute names in order: what hostile text must never change."""
        return [(element.tag, tuple(element.attrs)) for element in self.all()]
