/**
 * As whom queries run: the dialog in which it is chosen, and what is there to choose from.
 *
 * A choice is `null` for yourself, or `{ header, label }`: what the header `Fieldward-Run-As` says, and how people say
 * it. The lists are asked for as yourself, each time anew; the names of people only once a person is to be chosen,
 * because the server writes down that names were read.
 */
import { errorsOf } from '../../account/request.js';
import { BUILT_IN_ROLES, OWN_ROLES, PEOPLE, PROJECTS } from './operations.js';
import { RefusedError } from './session.js';

export const RUN_AS = 'fieldward-run-as';

/** By the list, the query for a page of it. */
const LISTS = { projects: PROJECTS, roles: OWN_ROLES, users: PEOPLE };

const element = (id) => document.getElementById(id);

export class RunAsDialog {
  #session;
  #onChoose;
  #dialog = element('run-as-dialog');
  #form = element('run-as-form');
  #alert = element('run-as-alert');
  #kind = element('run-as-kind');
  #role = element('run-as-role');
  #project = element('run-as-project');
  #person = element('run-as-person');
  #submit = element('run-as-submit');
  #lists = {};
  #turn = 0;
  #viewerId = null;

  /** @param {(choice: {header: string, label: string} | null) => void} onChoose called with what was chosen. */
  constructor(session, onChoose) {
    this.#session = session;
    this.#onChoose = onChoose;
    this.#kind.addEventListener('change', () => this.#fill());
    this.#role.addEventListener('change', () => this.#show());
    element('run-as-cancel').addEventListener('click', () => this.#dialog.close());
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      const choice = this.#choice();
      this.#dialog.close();
      this.#onChoose(choice);
    });
  }

  /** Show the dialog. `viewerId` is left out of the people. */
  open(viewerId) {
    this.#viewerId = viewerId;
    this.#lists = {};
    this.#dialog.showModal();
    this.#kind.focus();
    this.#fill();
  }

  /** Fetch what the kind of choice needs, and offer it. */
  async #fill() {
    this.#turn += 1;
    const turn = this.#turn;
    const kind = this.#kind.value;
    this.#alert.replaceChildren();
    this.#setBusy(true);
    try {
      if (kind === 'organization' || kind === 'project') {
        const roles = await this.#once('builtIn', () => this.#builtIn());
        if (turn === this.#turn) offer(this.#role, roles[kind].map((name) => [name, name]));
      }
      if (kind === 'own') {
        const roles = await this.#once('roles', () => this.#list('roles'));
        const where = { ORGANIZATION: 'in the organization', PROJECT: 'in a project' };
        if (turn === this.#turn) offer(this.#role, roles.map((one) => [one.id, `${one.name} (${where[one.level]})`]));
      }
      if (kind === 'project' || kind === 'own') {
        const projects = await this.#once('projects', () => this.#list('projects'));
        const named = projects.map((one) => [one.id, [one.code, one.name].filter(Boolean).join(' – ')]);
        if (turn === this.#turn) offer(this.#project, named);
      }
      if (kind === 'person') {
        const users = await this.#once('users', () => this.#list('users'));
        const others = users.filter((one) => one.id !== this.#viewerId && one.status === 'ACTIVE');
        if (turn === this.#turn) offer(this.#person, others.map((one) => [one.id, nameOf(one)]));
      }
    } catch (error) {
      if (turn === this.#turn) this.#refuse(error);
    } finally {
      if (turn === this.#turn) {
        this.#setBusy(false);
        this.#show();
      }
    }
  }

  /** Show the pickers that the choice takes; what is not shown is not demanded. */
  #show() {
    const kind = this.#kind.value;
    const shown = {
      role: kind === 'organization' || kind === 'project' || kind === 'own',
      project: kind === 'project' || (kind === 'own' && this.#ownRole()?.level === 'PROJECT'),
      person: kind === 'person',
    };
    for (const [name, picker] of Object.entries({ role: this.#role, project: this.#project, person: this.#person })) {
      picker.closest('.field').hidden = !shown[name];
      picker.disabled = !shown[name];
    }
    const missing = [this.#role, this.#project, this.#person].some((one) => !one.disabled && !one.value);
    this.#submit.disabled = missing;
    if (missing && !this.#alert.hasChildNodes()) this.#say(['There is nothing of this kind to choose.']);
  }

  #choice() {
    const place = labelOf(this.#project).split(' – ')[0];
    switch (this.#kind.value) {
      case 'organization':
        return { header: this.#role.value, label: `${this.#role.value} in the organization` };
      case 'project':
        return { header: `${this.#role.value}@${this.#project.value}`, label: `${this.#role.value} in ${place}` };
      case 'own': {
        const role = this.#ownRole();
        return role.level === 'PROJECT'
          ? { header: `${role.id}@${this.#project.value}`, label: `${role.name} in ${place}` }
          : { header: role.id, label: `${role.name} in the organization` };
      }
      case 'person':
        return { header: this.#person.value, label: labelOf(this.#person) };
      default:
        return null;
    }
  }

  #ownRole() {
    return this.#lists.roles?.found?.find((one) => one.id === this.#role.value);
  }

  /** Return what was fetched under that name since the dialog was opened, or fetch it. */
  async #once(name, fetch) {
    const kept = (this.#lists[name] ??= {});
    kept.found ??= await fetch();
    return kept.found;
  }

  async #builtIn() {
    const data = await this.#ask(BUILT_IN_ROLES);
    const names = (type) => (type?.enumValues ?? []).map((one) => one.name);
    return { organization: names(data.organization), project: names(data.project) };
  }

  /** Return all of a list, page by page. */
  async #list(name) {
    const found = [];
    let after = null;
    do {
      const page = (await this.#ask(LISTS[name], { after }))[name];
      found.push(...(page?.nodes ?? []));
      after = page?.pageInfo.hasNextPage ? page.pageInfo.endCursor : null;
    } while (after);
    return found.sort((one, other) => nameOf(one).localeCompare(nameOf(other)));
  }

  /** Return an answer's data. A field that may not be read is no reason to offer nothing. */
  async #ask(query, variables) {
    const answer = await this.#session.request({ query, variables });
    if (!answer.data) throw new RefusedError(errorsOf(answer));
    return answer.data;
  }

  #refuse(error) {
    this.#say(error instanceof RefusedError ? error.errors.map((one) => one.message) : [error.message]);
  }

  #say(messages) {
    this.#alert.replaceChildren(
      ...messages.map((message) => {
        const line = document.createElement('p');
        line.textContent = message;
        return line;
      }),
    );
  }

  #setBusy(isBusy) {
    this.#form.setAttribute('aria-busy', String(isBusy));
    this.#submit.disabled = isBusy;
  }
}

function offer(picker, options) {
  picker.replaceChildren(...options.map(([value, label]) => new Option(label, value)));
}

function labelOf(picker) {
  return picker.selectedOptions[0]?.label ?? '';
}

function nameOf(one) {
  return one.code ?? one.name ?? one.id;
}
