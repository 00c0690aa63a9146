"""Server-rendered pages: Jinja templates in, HTML responses out."""

from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from shop.database import Refused
from shop.money import SALE_DISCOUNT, WELCOME_COUPON, yuan
from shop.settings import Settings

TEMPLATES = Path(__file__).parent / "templates"


class Pages:
    """Renders the pages of one service."""

    def __init__(self, service: str, settings: Settings) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, auto_reload=False
        )
        self._environment.filters["yuan"] = yuan
        self._environment.globals |= {
            "service": service,
            "version": settings.shop_version,
            "write_key": settings.write_key,
            "discount": SALE_DISCOUNT,
            "welcome": WELCOME_COUPON,
            "style": (TEMPLATES / "style.css").read_text(),
        }

    def render(self, template: str, status: int = 200, **values: Any) -> Response:
        html = self._environment.get_template(template).render(**values)
        # Prices, stock and carts are a visitor's own and of this moment.
        return HTMLResponse(html, status, {"cache-control": "no-store"})

    def refusal(self, _: Request, error: Refused) -> Response:
        """The page that says no, with the way back."""
        response = self.render("refusal.html", error.status, message=error.message, code=error.code)
        if error.status == 503:
            response.headers["retry-after"] = "3"
        return response


def moment(text: str | None) -> datetime | None:
    """Read a moment as the store writes it."""
    return datetime.fromisoformat(text) if text else None
