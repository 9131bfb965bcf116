/**
 * Forms: what was typed goes out under the names of the input's fields, and what the server says against a field
 * stands beside that field and is read out with it.
 */

import { RefusedError, UnreachableError } from './api.js';

/**
 * Have `submit` called with the form's values, by name, when it is sent; show what it throws.
 *
 * Texts are trimmed, but for passwords. A field that is hidden or empty is not among the values.
 *
 * @param {HTMLFormElement} form
 * @param {(values: Record<string, string>) => Promise<void>} submit
 */
export function bindForm(form, submit) {
  for (const input of inputsOf(form)) addErrorPlace(input);
  form.noValidate = true;
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    if (form.dataset.busy) return;
    clearErrors(form);
    if (!requireFilled(form)) return;
    await busyWhile(form, () => submit(valuesOf(form)));
  });
}

/** Run something for a form: its buttons rest meanwhile, and what is thrown is shown in it. Answers whether it went well. */
export async function busyWhile(form, act) {
  form.dataset.busy = 'yes';
  const resting = [...form.querySelectorAll('button')].filter((button) => !button.disabled);
  for (const button of resting) button.disabled = true;
  try {
    await act();
    return true;
  } catch (error) {
    showError(form, error);
    return false;
  } finally {
    for (const button of resting) button.disabled = false;
    delete form.dataset.busy;
  }
}

/** Empty a form and take away what was said against it. */
export function resetForm(form) {
  form.reset();
  clearErrors(form);
}

/** Show an error in a form: beside the fields at fault, and above them what is about none that is shown. */
export function showError(form, error) {
  const alert = form.querySelector('.alert');
  clearErrors(form);
  const errors = error instanceof RefusedError ? error.errors : [{ message: said(error) }];
  let first = null;
  for (const { message, field } of errors) {
    const input = inputsOf(form).find((one) => one.name === field?.at(-1) && isShown(one));
    if (input) {
      markInvalid(input, message);
      first ??= input;
    } else {
      alert.append(paragraph(message));
      first ??= inputsOf(form).find((one) => one.type === 'password' && isShown(one)) ?? null;
    }
  }
  if (first) first.focus();
  else alert.focus();
}

function said(error) {
  if (error instanceof UnreachableError) return error.message;
  // A passkey's dialog was closed, or timed out: browsers do not tell which.
  if (error.name === 'NotAllowedError') return 'The passkey was not used. Try again, or choose another way.';
  if (error.name === 'InvalidStateError') return 'This passkey is yours already.';
  if (error.name === 'AbortError') return 'That was cancelled.';
  console.error(error);
  return 'Something went wrong in this page. Reload it and try again.';
}

function valuesOf(form) {
  const values = {};
  for (const input of inputsOf(form)) {
    if (!input.name || !isShown(input)) continue;
    const value = input.type === 'password' || input.dataset.secret ? input.value : input.value.trim();
    if (value !== '') values[input.name] = value;
  }
  return values;
}

function requireFilled(form) {
  const missing = inputsOf(form).filter((input) => isShown(input) && input.required && input.value.trim() === '');
  for (const input of missing) markInvalid(input, 'Fill this in.');
  missing[0]?.focus();
  return missing.length === 0;
}

function inputsOf(form) {
  return [...form.querySelectorAll('.field input')];
}

function isShown(input) {
  return !input.closest('[hidden]');
}

function addErrorPlace(input) {
  const place = document.createElement('p');
  place.className = 'field-error';
  place.id = `${input.id}-error`;
  input.closest('.field').append(place);
  const described = input.getAttribute('aria-describedby');
  input.setAttribute('aria-describedby', described ? `${place.id} ${described}` : place.id);
}

function markInvalid(input, message) {
  input.setAttribute('aria-invalid', 'true');
  document.getElementById(`${input.id}-error`).textContent = message;
}

function clearErrors(form) {
  form.querySelector('.alert').replaceChildren();
  for (const input of inputsOf(form)) {
    input.removeAttribute('aria-invalid');
    document.getElementById(`${input.id}-error`).textContent = '';
  }
}

function paragraph(text) {
  const made = document.createElement('p');
  made.textContent = text;
  return made;
}
