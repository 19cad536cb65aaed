// The values that kernel, store and views exchange.

/** A block, a layer or a tensor by its name, or a block by its position. */
export type Place = string | number;

/** Where a slice ends: at a place, or at several, in a list or by the keys of the outputs. */
export type End = Place | Place[] | Record<string, Place>;

export type Selection = [] | [start: Place, end: End];

/** What anywidget gives to a view, and what a saved page has instead. */
export interface Model {
  offline?: boolean;
  get(key: string): any;
  set(key: string, value: unknown): void;
  on(event: string, listener: () => void): void;
  off(event: string, listener: () => void): void;
  save_changes(callbacks?: object): void;
  send(content: object, callbacks?: object, buffers?: ArrayBuffer[]): void;
  widget_manager?: WidgetManager;
}

export interface WidgetManager {
  get_model?(id: string): Promise<{ comm_live?: boolean }>;
  kernel?: { status?: string } | null;
}

export interface Block {
  name: string;
  about: string;
  layers: string[];
  input: string;
  output: string;
  shape: string;
  parameters: number;
  shared?: string[];
}

/** A card of the diagram: of one block, or of a run of blocks, which has a name. */
export interface Card {
  first: number;
  last: number;
  name?: string;
  about?: string;
}

export interface Network {
  name: string;
  svg: string;
  cards: Card[];
  blocks: Block[];
  stages?: { name: string; first: number; last: number }[];
  sources: number[][];
  refused: Record<number, { names: string[]; makers: number[] }>[];
  images: boolean;
  shared: boolean;
}

export interface Layer {
  name: string;
  id: string;
  index: number;
  about: string;
  layers: string[];
}

/** A block whose layers are shown. */
export interface Opened {
  block: string;
  svg: string;
  calls: Layer[];
  entries?: number[];
}

/** A card to bring into sight: at the top, in the middle, or as near as it is. */
export interface Goal {
  name: string;
  focus: boolean;
  where: "top" | "middle" | "near";
}

/** A run of blocks that is shown as cards of its own. */
export interface Unfolded {
  svg: string;
  cards: Card[];
  first: number;
  last: number;
  name: string;
}

/**
 * A tensor on its way to what reads it: the blocks that it leaves and enters, by a shortcut or not,
 * and, where the kernel told, the tensor and the calls.
 */
export interface Wire {
  source: number;
  block: number;
  shortcut: boolean;
  tensor?: number;
  maker?: number;
  reader?: number;
}

/** Why a slice cannot end at a place: `names` are the layers whose output bypasses the start. */
export interface Reason {
  kind: "before" | "apart" | "bypassed";
  names: string[];
  wires: Wire[];
}

/** The kernel's answer: the places that cannot be the end of slices from one start. */
export interface Reach {
  start: string | number;
  block: string | null;
  blocks?: Record<string, Reason>;
  layers?: Record<string, Reason>;
}

/** Why a card cannot be the end, and the edges of the diagram that show it. */
export interface Refusal {
  text: string;
  wires?: Wire[];
  edges?: string[];
}

/** A button beside a message. */
export interface Action {
  label: string;
  selection?: Selection;
  allow_bypass?: boolean;
  begin?: string;
}

export interface Message {
  text: string;
  actions: Action[];
}

export type Status =
  | "none"
  | "pending"
  | "waiting"
  | "busy"
  | "refused"
  | "ready"
  | "lost"
  | "offline";

export interface Progress {
  label?: string;
  done?: number;
  total?: number;
  stopping?: boolean;
}

/** A tab of the panel. `refresh` draws what has changed since. */
export interface Tab {
  id: string;
  label: string;
  element: HTMLElement;
  refresh(): void;
  close?(): void;
}

/** What the diagram shows on a block: a number on its colour. */
export interface Value {
  text: string;
  words: string;
  fill: string;
  ink: string;
}

/** What the diagram shows. */
export interface View {
  lit(i: number): boolean;
  reason(i: number): Refusal | null;
  chosen: boolean;
  flags: [number, string][];
  /** The cards of the ends, if there are several. */
  ends?: number[];
  values?: (Value | null)[] | null;
  crossing?: string[];
  entering?: string[];
}
