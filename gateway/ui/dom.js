/* SPDX-License-Identifier: MIT */
/* Changing the page: only where something differs, and by text only. */

export const byId = (id) => document.getElementById(id);

/* Text from the server gets in here, and nowhere as markup. */
export function setText(node, text) {
  const value = String(text);
  if (node.textContent !== value) node.textContent = value;
}

export function setAttribute(node, name, value) {
  if (value === null) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value))
    node.setAttribute(name, value);
}

/* Where `heir` is given, it gets the focus that would be lost. */
export function setHidden(node, isHidden, heir = null) {
  const hadFocus = isHidden && node.contains(document.activeElement);
  if (node.hidden !== isHidden) node.hidden = isHidden;
  if (hadFocus) heir?.focus();
}

export function setDisabled(node, isDisabled, heir) {
  const hadFocus = isDisabled && node === document.activeElement;
  node.disabled = isDisabled;
  if (hadFocus) heir.focus();
}

/* make('td', {class: 'number'}, 'text', node, ...) */
export function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes))
    if (value !== null && value !== false) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

export function makeSvg(tag, attributes = {}, ...children) {
  const node = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes))
    node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/*
 * Keeps the children of `parent` like `items`: one each, found again by
 * keyOf(item), made by create(item) -> {node, ...} and brought up to date by
 * update(part, item). What stays is not touched, so it keeps the focus.
 */
export class KeyedList {
  #parts = new Map();

  constructor(parent, { keyOf, create, update, onFocusLost }) {
    Object.assign(this, { parent, keyOf, create, update, onFocusLost });
  }

  show(items) {
    const keys = new Set(items.map(this.keyOf));
    for (const [key, { node }] of this.#parts)
      if (!keys.has(key)) this.#drop(key, node);
    let place = this.parent.firstElementChild;
    for (const item of items) {
      const key = this.keyOf(item);
      let part = this.#parts.get(key);
      if (!part) this.#parts.set(key, (part = this.create(item)));
      this.update(part, item);
      if (part.node === place) place = place.nextElementSibling;
      else this.#move(part.node, place);
    }
  }

  #drop(key, node) {
    const hadFocus = node.contains(document.activeElement);
    this.#parts.delete(key);
    node.remove();
    if (hadFocus) this.onFocusLost?.();
  }

  /* A node that moves would lose the focus. */
  #move(node, place) {
    const focused = node.contains(document.activeElement)
      ? document.activeElement
      : null;
    this.parent.insertBefore(node, place);
    focused?.focus({ preventScroll: true });
  }

  get(key) {
    return this.#parts.get(key);
  }
}

/* A menu with one entry for each of `values`; keeps the choice, also of what
 * has gone. */
export function setOptions(select, first, values) {
  const wanted = [...new Set(select.value ? [select.value, ...values] : values)]
    .sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
  const have = [...select.options].slice(1).map(({ value }) => value);
  if (select.options.length > 0 && wanted.join('\n') === have.join('\n'))
    return;
  const { value } = select;
  select.replaceChildren(
    new Option(first, ''),
    ...wanted.map((one) => new Option(one, one)),
  );
  select.value = value;
}
