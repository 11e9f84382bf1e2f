// Returns the visible texts of a page whose contrast to what lies behind them is below WCAG AA (1.4.3).
() => {
  const parse = (text) => {
    const [red, green, blue, alpha = 1] = text.match(/[\d.]+/g).map(Number);
    return { rgb: [red, green, blue], alpha };
  };
  const over = (front, back, alpha) => front.map((value, index) => value * alpha + back[index] * (1 - alpha));
  const luminance = (rgb) => {
    const [red, green, blue] = rgb.map((value) => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const behind = (element) => {
    if (!element) return parse(getComputedStyle(document.body).backgroundColor).rgb;
    const { rgb, alpha } = parse(getComputedStyle(element).backgroundColor);
    return alpha === 1 ? rgb : over(rgb, behind(element.parentElement), alpha);
  };
  const hasText = (element) =>
    [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim())
    || (element.matches("input, textarea") && (element.value || element.placeholder));
  const isSeen = (element) => {
    const box = element.getBoundingClientRect();
    return box.width > 1 && box.height > 1 && box.right > 0 && box.bottom > 0
      && element.checkVisibility({ visibilityProperty: true }) && !element.disabled
      && !element.closest(".visually-hidden, svg, option");
  };

  const found = [];
  for (const element of document.body.querySelectorAll("*")) {
    if (!hasText(element) || !isSeen(element)) continue;
    const isPlaceholder = element.placeholder && !element.value;
    const style = getComputedStyle(element, isPlaceholder ? "::placeholder" : null);
    const size = parseFloat(style.fontSize);
    const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const ground = behind(element);
    const { rgb, alpha } = parse(style.color);
    const [low, high] = [luminance(over(rgb, ground, alpha)), luminance(ground)].sort((one, other) => one - other);
    const ratio = (high + 0.05) / (low + 0.05);
    if (ratio < (isLarge ? 3 : 4.5)) {
      found.push(`${ratio.toFixed(2)} ${element.tagName}.${element.className} "${(element.value || element.placeholder || element.textContent).trim().slice(0, 40)}"`);
    }
  }
  return [...new Set(found)];
}
