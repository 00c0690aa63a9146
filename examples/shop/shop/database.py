"""The shop's one truth: an SQLite file. Every rule that must hold under concurrency is a transaction here.

Stock is never oversold, a coupon is claimed once, a payment with the same key happens once: each is decided inside one
`BEGIN IMMEDIATE` transaction and has a constraint in the schema behind it, so that even a mistake here cannot break it.
"""

import secrets
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from shop.catalogue import CATALOGUE
from shop.money import WELCOME_COUPON, Coupon, Line, bill

Row = dict[str, Any]

SCHEMA = """
CREATE TABLE IF NOT EXISTS product (
  sku TEXT PRIMARY KEY, position INTEGER NOT NULL, name TEXT NOT NULL, tagline TEXT NOT NULL, tile TEXT NOT NULL,
  colour TEXT NOT NULL, price_cents INTEGER NOT NULL CHECK (price_cents > 0), flash_cents INTEGER NOT NULL,
  flash_stock INTEGER NOT NULL CHECK (flash_stock >= 0), flash_sold INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE TABLE IF NOT EXISTS coupon (
  visitor TEXT PRIMARY KEY, code TEXT NOT NULL, minimum_cents INTEGER NOT NULL, off_cents INTEGER NOT NULL,
  claimed_at TEXT NOT NULL, used_by INTEGER REFERENCES purchase (id),
  CHECK (off_cents > 0 AND off_cents <= minimum_cents)) STRICT;
CREATE TABLE IF NOT EXISTS reminder (phone TEXT PRIMARY KEY, asked_at TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS cart_line (
  visitor TEXT NOT NULL, sku TEXT NOT NULL REFERENCES product (sku),
  quantity INTEGER NOT NULL CHECK (quantity BETWEEN 1 AND 99), PRIMARY KEY (visitor, sku)) STRICT;
CREATE TABLE IF NOT EXISTS purchase (
  id INTEGER PRIMARY KEY AUTOINCREMENT, visitor TEXT NOT NULL, flash_sku TEXT, goods_cents INTEGER NOT NULL,
  discount_cents INTEGER NOT NULL, coupon_cents INTEGER NOT NULL, total_cents INTEGER NOT NULL CHECK (total_cents >= 0),
  created_at TEXT NOT NULL, UNIQUE (visitor, flash_sku)) STRICT;
CREATE TABLE IF NOT EXISTS purchase_line (
  purchase INTEGER NOT NULL REFERENCES purchase (id), sku TEXT NOT NULL, quantity INTEGER NOT NULL,
  unit_cents INTEGER NOT NULL, PRIMARY KEY (purchase, sku)) STRICT;
CREATE TABLE IF NOT EXISTS payment (
  key TEXT PRIMARY KEY, purchase INTEGER NOT NULL UNIQUE REFERENCES purchase (id), cents INTEGER NOT NULL,
  paid_at TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS secret (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
"""


class Refused(Exception):  # noqa: N818 - an answer to the customer, not an error of ours
    """The shop says no. `code` is for programs, the message for the customer, `status` is the HTTP status."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


@dataclass(frozen=True, slots=True)
class Sale:
    """When flash-sale goods may be bought. None: no bound on that side."""

    starts_at: datetime | None = None
    ends_at: datetime | None = None

    def check(self, now: datetime) -> None:
        """Refuse outside the sale."""
        if self.starts_at and now < self.starts_at:
            raise Refused(425, "not_started", "秒杀还没有开始，请稍等。")
        if self.ends_at and now >= self.ends_at:
            raise Refused(410, "ended", "秒杀已经结束，下次再来。")


class Database:
    """One connection, one writer at a time; several processes on the same file are kept apart by SQLite's own lock."""

    def __init__(self, path: Path, flash_stock: int = 500) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
        self._connection.row_factory = sqlite3.Row
        # A pod has one writable volume and a read-only root, so SQLite may not look for /var/tmp.
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "temp_store = MEMORY"):
            self._connection.execute(f"PRAGMA {pragma}").fetchall()
        self._connection.executescript(SCHEMA)
        with self._transaction() as sql:
            sql.executemany(
                "INSERT OR IGNORE INTO product (sku, name, tagline, tile, colour, price_cents, flash_cents, position,"
                " flash_stock) VALUES (:sku, :name, :tagline, :tile, :colour, :price_cents, :flash_cents, :position,"
                " :flash_stock)",
                [
                    asdict(product) | {"position": index, "flash_stock": flash_stock if product.flash_cents else 0}
                    for index, product in enumerate(CATALOGUE)
                ],
            )
            sql.execute("INSERT OR IGNORE INTO secret VALUES ('ticket', ?)", (secrets.token_bytes(32),))
            sql.execute("INSERT OR IGNORE INTO secret VALUES ('shop', ?)", (secrets.token_bytes(4),))
            self._shop = sql.execute("SELECT value FROM secret WHERE name = 'shop'").fetchone()[0].hex()

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def ticket_key(self) -> bytes:
        """The key that signs flash-sale tickets: the same for all replicas of seckill, made by the store itself."""
        with self._transaction() as sql:
            value: bytes = sql.execute("SELECT value FROM secret WHERE name = 'ticket'").fetchone()[0]
            return value

    def products(self) -> list[Row]:
        with self._transaction() as sql:
            return [dict(row) for row in sql.execute("SELECT * FROM product ORDER BY position")]

    def figures(self) -> Row:
        """Totals of the sale, for the demo's view and for checking that nothing was sold twice."""
        with self._transaction() as sql:
            flash = sql.execute("SELECT sum(flash_stock) AS left, sum(flash_sold) AS sold FROM product").fetchone()
            return {
                "flash_left": flash["left"],
                "flash_sold": flash["sold"],
                "purchases": sql.execute("SELECT count(*) FROM purchase").fetchone()[0],
                "paid": sql.execute("SELECT count(*) FROM payment").fetchone()[0],
                "paid_cents": sql.execute("SELECT coalesce(sum(cents), 0) FROM payment").fetchone()[0],
                "coupons": sql.execute("SELECT count(*) FROM coupon").fetchone()[0],
                "reminders": sql.execute("SELECT count(*) FROM reminder").fetchone()[0],
            }

    def claim_coupon(self, visitor: str, now: datetime, code: str = "WELCOME", coupon: Coupon = WELCOME_COUPON) -> Row:
        """Give `visitor` a coupon, the only one; `first` tells whether this very call did it.

        What was promised with it holds, whatever the rules become later.
        """
        with self._transaction() as sql:
            claimed = sql.execute(
                "INSERT OR IGNORE INTO coupon (visitor, code, minimum_cents, off_cents, claimed_at)"
                " VALUES (?, ?, ?, ?, ?)",
                (visitor, code, coupon.minimum_cents, coupon.off_cents, now.isoformat()),
            )
            row = sql.execute("SELECT * FROM coupon WHERE visitor = ?", (visitor,)).fetchone()
            kept = {name: row[name] for name in ("code", "minimum_cents", "off_cents")}
            return {"first": claimed.rowcount == 1, "used": row["used_by"] is not None, **kept}

    def remind(self, phone: str, now: datetime) -> None:
        """Note that somebody wants to be told when the sale opens; once, however often it is asked for."""
        with self._transaction() as sql:
            sql.execute("INSERT OR IGNORE INTO reminder VALUES (?, ?)", (phone, now.isoformat()))

    def cart(self, visitor: str) -> Row:
        """Lines and bill of the visitor's cart as it would be ordered now."""
        with self._transaction() as sql:
            return _cart(sql, visitor)

    def put_in_cart(self, visitor: str, sku: str, quantity: int) -> Row:
        """Set how many of `sku` lie in the cart; 0 takes the product out."""
        if not 0 <= quantity <= 99:
            raise Refused(422, "bad_quantity", "数量须在 0 到 99 之间。")
        with self._transaction() as sql:
            if not sql.execute("SELECT 1 FROM product WHERE sku = ?", (sku,)).fetchone():
                raise Refused(404, "no_such_product", "没有这件商品。")
            if quantity:
                sql.execute("INSERT OR REPLACE INTO cart_line VALUES (?, ?, ?)", (visitor, sku, quantity))
            else:
                sql.execute("DELETE FROM cart_line WHERE visitor = ? AND sku = ?", (visitor, sku))
            return _cart(sql, visitor)

    def order_cart(self, visitor: str, now: datetime) -> Row:
        """Turn the cart into a purchase that waits for payment; the coupon is used up if the bill took it."""
        with self._transaction() as sql:
            cart = _cart(sql, visitor)
            if not cart["lines"]:
                raise Refused(409, "empty_cart", "购物车是空的。")
            lines = [Line(line["sku"], line["quantity"], line["unit_cents"]) for line in cart["lines"]]
            number = _insert_purchase(sql, visitor, None, lines, cart["bill"], now)
            if cart["bill"]["coupon_cents"]:
                sql.execute("UPDATE coupon SET used_by = ? WHERE visitor = ?", (number, visitor))
            sql.execute("DELETE FROM cart_line WHERE visitor = ?", (visitor,))
            return _purchase(sql, number)

    def buy_flash(self, visitor: str, sku: str, sale: Sale, now: datetime) -> Row:
        """One piece of `sku` at the flash price, at most one per visitor; asking again returns the same purchase."""
        sale.check(now)
        with self._transaction() as sql:
            product = sql.execute("SELECT * FROM product WHERE sku = ? AND flash_cents > 0", (sku,)).fetchone()
            if not product:
                raise Refused(404, "no_such_product", "这件商品不在秒杀之列。")
            mine = sql.execute("SELECT id FROM purchase WHERE visitor = ? AND flash_sku = ?", (visitor, sku)).fetchone()
            if mine:
                return _purchase(sql, mine["id"]) | {"first": False}
            taken = sql.execute(
                "UPDATE product SET flash_stock = flash_stock - 1, flash_sold = flash_sold + 1"
                " WHERE sku = ? AND flash_stock > 0",
                (sku,),
            )
            if taken.rowcount == 0:
                raise Refused(409, "sold_out", "已抢光。")
            price = product["flash_cents"]
            totals = {"goods_cents": price, "discount_cents": 0, "coupon_cents": 0, "total_cents": price}
            number = _insert_purchase(sql, visitor, sku, [Line(sku, 1, price)], totals, now)
            return _purchase(sql, number) | {"first": True}

    def pay(self, visitor: str, number: int, key: str, now: datetime) -> Row:
        """Pay purchase `number` under idempotency `key`: the same key again returns the same receipt."""
        with self._transaction() as sql:
            earlier = sql.execute("SELECT purchase FROM payment WHERE key = ?", (key,)).fetchone()
            if earlier and earlier["purchase"] != number:
                raise Refused(409, "key_reused", "这个付款编号已经用于另一个订单。")
            found = _purchase(sql, number)
            if found["visitor"] != visitor:
                raise Refused(404, "no_such_purchase", "没有这个订单。")
            if not earlier:
                if found["paid_at"]:
                    raise Refused(409, "already_paid", "这个订单已经付过款，没有重复扣款。")
                sql.execute(
                    "INSERT INTO payment VALUES (?, ?, ?, ?)", (key, number, found["total_cents"], now.isoformat())
                )
            # `shop` tells this file's purchases from those of another, whose numbers begin at 1 as well.
            return _purchase(sql, number) | {"first": earlier is None, "shop": self._shop}

    def purchase(self, visitor: str, number: int) -> Row:
        with self._transaction() as sql:
            found = _purchase(sql, number)
        if found["visitor"] != visitor:
            raise Refused(404, "no_such_purchase", "没有这个订单。")
        return found


def _cart(sql: sqlite3.Connection, visitor: str) -> Row:
    rows = sql.execute(
        "SELECT p.sku, p.name, p.tile, p.colour, l.quantity, p.price_cents AS unit_cents FROM cart_line l"
        " JOIN product p USING (sku) WHERE l.visitor = ? ORDER BY p.position",
        (visitor,),
    ).fetchall()
    found = sql.execute(
        "SELECT minimum_cents, off_cents FROM coupon WHERE visitor = ? AND used_by IS NULL", (visitor,)
    ).fetchone()
    coupon = Coupon(**found) if found else None
    total = bill((Line(row["sku"], row["quantity"], row["unit_cents"]) for row in rows), coupon)
    return {
        "lines": [dict(row) for row in rows],
        "coupon": asdict(coupon) if coupon else None,
        "bill": asdict(total) | {"total_cents": total.total_cents},
    }


def _insert_purchase(
    sql: sqlite3.Connection, visitor: str, flash_sku: str | None, lines: list[Line], totals: Row, now: datetime
) -> int:
    cursor = sql.execute(
        "INSERT INTO purchase (visitor, flash_sku, goods_cents, discount_cents, coupon_cents, total_cents, created_at)"
        " VALUES (:visitor, :flash_sku, :goods_cents, :discount_cents, :coupon_cents, :total_cents, :now)",
        {**totals, "visitor": visitor, "flash_sku": flash_sku, "now": now.isoformat()},
    )
    number = cursor.lastrowid
    if number is None:
        raise sqlite3.IntegrityError("an inserted purchase has a number")
    sql.executemany(
        "INSERT INTO purchase_line VALUES (?, ?, ?, ?)",
        [(number, line.sku, line.quantity, line.unit_cents) for line in lines],
    )
    return number


def _purchase(sql: sqlite3.Connection, number: int) -> Row:
    row = sql.execute(
        "SELECT p.*, m.paid_at FROM purchase p LEFT JOIN payment m ON m.purchase = p.id WHERE p.id = ?", (number,)
    ).fetchone()
    if not row:
        raise Refused(404, "no_such_purchase", "没有这个订单。")
    lines = sql.execute(
        "SELECT l.sku, l.quantity, l.unit_cents, p.name FROM purchase_line l JOIN product p USING (sku)"
        " WHERE l.purchase = ? ORDER BY p.position",
        (number,),
    )
    return dict(row) | {"lines": [dict(line) for line in lines]}
