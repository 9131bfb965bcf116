/** What of the page is shown, and small things to show it with. Text goes in as text, never as markup. */

export const byId = (id) => document.getElementById(id);

/**
 * Show one view of the page and none else, and put the focus into it.
 *
 * @param {string} name the id of a view: a child of `main`.
 * @param {string} [notice] what happened, shown in the view and read out.
 */
export function show(name, notice = '') {
  for (const view of document.querySelectorAll('main > [data-view]')) view.hidden = view.id !== name;
  const view = byId(name);
  const place = view.querySelector('.notice.said');
  if (place) {
    place.textContent = notice;
    place.hidden = notice === '';
  }
  announce(notice);
  document.title = `${view.dataset.view} – Fieldward`;
  (view.querySelector('.page-title') ?? view.querySelector('input:not([hidden] *)') ?? view.querySelector('h2')).focus();
}

/** Have a screen reader say something. */
export function announce(text) {
  byId('status').textContent = text;
}

/** Make an element with attributes and children; `onclick` is a listener, all else an attribute. */
export function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === 'onclick') made.addEventListener('click', value);
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

const MOMENT = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });

/** Return a `time` element for a moment in ISO 8601, or a word where there was none. */
export function moment(iso, otherwise = 'never') {
  return iso ? make('time', { datetime: iso }, MOMENT.format(new Date(iso))) : otherwise;
}

/** Return the image of a QR code from the SVG's text. As an image it runs nothing. */
export function showQr(image, svg) {
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;
}

/** Open a dialog and answer, when it is closed, with what it was closed by. */
export function opened(dialog) {
  dialog.returnValue = '';
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue), { once: true });
  });
}
