"""Pictures of a page, small enough to be kept in a ConfigMap."""

from playwright.async_api import Error, Page

LARGEST_PICTURE = 200 * 1024
"""Bytes of one picture."""
ALL_PICTURES = 700 * 1024
"""Bytes of all pictures of a visit."""
QUALITIES = (75, 50, 30, 15, 5)
TIMEOUT_SECONDS = 5.0


class Album:
    """The pictures of one visit. Room for that of a failure is kept free.

    Args:
        asked: How many pictures the steps ask for.
    """

    def __init__(self, asked: int) -> None:
        self._share = min(LARGEST_PICTURE, (ALL_PICTURES - LARGEST_PICTURE) // max(asked, 1))
        self.pictures: dict[str, bytes] = {}
        """JPEG by file name."""
        self.problems: list[str] = []
        """Why pictures are missing."""

    async def take(self, page: Page, number: int, name: str, *, failed: bool = False) -> None:
        """Take a picture of what is seen of a page; a picture that cannot be had is told, and never raises."""
        file = f"{number:02d}-{name}.jpg"
        limit = LARGEST_PICTURE if failed else self._share
        try:
            for quality in QUALITIES:
                picture = await page.screenshot(
                    type="jpeg", quality=quality, timeout=TIMEOUT_SECONDS * 1000, scale="css"
                )
                if len(picture) <= limit:
                    self.pictures[file] = picture
                    return
        except Error as error:
            self.problems.append(f"{file} could not be taken: {error.message.splitlines()[0][:200]}")
            return
        self.problems.append(f"{file} is larger than {limit // 1024} KiB even at the lowest quality")
