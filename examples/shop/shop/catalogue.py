"""What the shop sells. The store copies it into its tables at first start; stock is counted there alone."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Product:
    sku: str
    name: str
    tagline: str
    tile: str
    """One or two characters that stand for the product where a photograph would be."""
    colour: str
    price_cents: int
    flash_cents: int = 0
    """The price in the flash sale; 0 where the product is not part of it."""


CATALOGUE = (
    Product("kuajing-earbuds", "静听 降噪耳机", "主动降噪，通勤也安静", "耳机", "#3b5bdb", 499_00, 199_00),
    Product("yunduo-robot", "云朵 扫地机器人", "扫拖一体，自己回家充电", "扫地", "#0b7285", 2_399_00, 1_299_00),
    Product("xianfeng-ricecooker", "鲜丰 电饭煲", "柴火味，二十五分钟快煮", "饭煲", "#a61e4d", 399_00, 149_00),
    Product("qingyu-umbrella", "晴雨 全自动伞", "一按就开，一按就收", "雨伞", "#5f3dc4", 89_00),
    Product("shanye-tea", "山野 明前龙井", "二〇二七年头采，250 克", "龙井", "#2b8a3e", 268_00, 129_00),
    Product("xingtu-backpack", "行途 双肩包", "二十升，能进安检的电脑仓", "背包", "#e67700", 329_00),
    Product("nuanguang-lamp", "暖光 护眼台灯", "国 AA 级照度，无频闪", "台灯", "#c2255c", 219_00),
    Product("maitian-snacks", "麦田 坚果礼盒", "七种坚果，独立小包", "坚果", "#846358", 128_00),
)
