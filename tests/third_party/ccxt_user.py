"""What a user of ccxt pro does alike on every exchange."""

import argparse
import asyncio
import sys

LIMIT_SECONDS = 60


async def soon(awaitable, what, seconds=20):
    try:
        return await asyncio.wait_for(awaitable, seconds)
    except TimeoutError:
        raise AssertionError(f"no {what} within {seconds} s") from None


class Orders:
    """Follows the account's orders in the background."""

    def __init__(self, exchange, symbol):
        self.exchange = exchange
        self.symbol = symbol
        self.latest = {}
        self.changed = asyncio.Condition()
        self.task = asyncio.ensure_future(self.follow())

    async def follow(self):
        while True:
            orders = await self.exchange.watch_orders(self.symbol)
            async with self.changed:
                self.latest.update({order["id"]: order for order in orders})
                self.changed.notify_all()

    async def wait_for(self, order_id, status):
        def reached():
            return self.latest.get(order_id, {}).get("status") == status

        async with self.changed:
            await soon(self.changed.wait_for(reached), f"{status} order {order_id}")
        return self.latest[order_id]


def run(name, description, exchange_at, use):
    """Reads the arguments, uses the exchange and exits: 0 when all of it worked, 1 otherwise."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--http", required=True, help="base URL of REST, without a path")
    parser.add_argument("--ws", required=True, help="base URL of the WebSocket, without a path")
    parser.add_argument("--key", required=True)
    parser.add_argument("--secret", required=True)
    arguments = parser.parse_args()

    async def main():
        exchange = exchange_at(arguments)
        try:
            await use(exchange)
        finally:
            await exchange.close()

    try:
        asyncio.run(asyncio.wait_for(main(), LIMIT_SECONDS))
    except (AssertionError, TimeoutError) as failure:
        sys.exit(f"{name}: {failure or 'out of time'}")
    print(f"{name}: ok")
