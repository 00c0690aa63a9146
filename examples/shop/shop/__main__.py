"""`python -m shop SERVICE`: one process of the shop."""

import argparse
import sys

from shop import store
from shop.services import SERVICES
from shop.serving import configure_logging, serve
from shop.settings import from_environment


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="shop", description="One service of the example shop 优购网.")
    commands = parser.add_subparsers(dest="service", required=True, metavar="SERVICE")
    for name in ["store", *SERVICES]:
        commands.add_parser(name, help=f"serve {name} on $LISTEN_PORT")
    options = parser.parse_args(arguments)
    configure_logging()
    try:
        settings = from_environment()
    except ValueError as error:
        print(f"shop: {error}", file=sys.stderr)
        return 2
    door = store.Store(settings).build() if options.service == "store" else SERVICES[options.service](settings).build()
    serve(door, settings)
    return 0


if __name__ == "__main__":
    sys.exit(main())
