// The views of the page and the address of each: "#/name/argument". A view is registered with a name, an icon, a label
// and `create(argument)`, which gives {element, open({focus}), close()}.
const views = new Map();
let shown = null;
let host = null;

export const routeEvents = new EventTarget();

export function register(name, view) {
  views.set(name, view);
}

export const registered = () => [...views.entries()];

/// {name, argument} of the address; the first view where it names none.
export function route() {
  const [, name, argument = ''] = location.hash.match(/^#\/([\w-]+)(?:\/([\w-]*))?$/) ?? [];
  return views.has(name) ? { name, argument } : { name: views.keys().next().value, argument: '' };
}

/// The view on the page.
export const shownView = () => shown;

/// Goes to a view. `quiet` changes the address alone: the shown view is there already.
export function go(name, argument = '', { quiet = false } = {}) {
  const address = argument ? `#/${name}/${argument}` : `#/${name}`;
  if (quiet) history.replaceState(null, '', address);
  else if (location.hash !== address) {
    location.hash = address;
    return;
  } else show();
  routeEvents.dispatchEvent(new Event('change'));
}

/// Builds the view of the address anew (a changed address, a changed language). `focus`: the view may take it.
export function show({ focus = true } = {}) {
  const { name, argument } = route();
  shown?.close();
  shown = views.get(name).create(argument);
  host.replaceChildren(shown.element);
  shown.open({ focus });
}

export function startRouter(element) {
  host = element;
  addEventListener('hashchange', () => {
    show();
    routeEvents.dispatchEvent(new Event('change'));
  });
  show();
}
