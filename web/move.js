// The command that moves a workflow from AnimateDiff-Evolved's nodes to this pack's. The server says what becomes of the
// graph and what differs (migration/); here this is shown, and done if wanted, as one step that undo takes back.

import { app } from "../../scripts/app.js"
import { api } from "../../scripts/api.js"

const ID = "AnimateLCM.Move"
const LABEL = "Move AnimateDiff-Evolved nodes to AnimateLCM"
const THEIRS = /^ADE_|^AnimateDiffLoaderV1$|^CheckpointLoaderSimpleWithNoiseSelect$/
const STYLE = `
.animatelcm-move { width: min(760px, 90vw); max-height: 80vh; padding: 20px; border: 1px solid var(--border-color);
  border-radius: 8px; background: var(--comfy-menu-bg); color: var(--input-text); font: 14px/1.4 sans-serif }
.animatelcm-move[open] { display: flex; flex-direction: column; gap: 12px }
.animatelcm-move::backdrop { background: rgb(0 0 0 / 50%) }
.animatelcm-move h2 { margin: 0; font-size: 18px }
.animatelcm-move p { margin: 0 }
.animatelcm-move ul { flex: 1; margin: 0; padding: 0; overflow: auto; list-style: none }
.animatelcm-move li { display: grid; grid-template-columns: 60px 1fr; gap: 2px 12px; padding: 8px 0;
  border-top: 1px solid var(--border-color) }
.animatelcm-move li > :not(:first-child) { grid-column: 2 }
.animatelcm-move .verdict { padding: 1px 0; border-radius: 4px; background: #2e7d32; color: white; font-size: 12px;
  text-align: center; align-self: start }
.animatelcm-move .close { background: #b26a00 }
.animatelcm-move .left { background: #b3261e }
.animatelcm-move small { color: var(--descrip-text); font-size: 13px }
.animatelcm-move footer { display: flex; gap: 8px; justify-content: flex-end }
.animatelcm-move button { padding: 6px 16px; border: 1px solid var(--border-color); border-radius: 6px;
  background: var(--comfy-input-bg); color: inherit; font: inherit; cursor: pointer }
.animatelcm-move button.primary { border-color: transparent; background: #1c6ed0; color: white }`

const element = (tag, properties, ...children) => {
  const made = Object.assign(document.createElement(tag), properties)
  made.append(...children)
  return made
}

const tell = (severity, detail) => app.extensionManager.toast.add({ severity, summary: "AnimateLCM", detail, life: 8000 })
const root = () => app.rootGraph ?? app.graph
const serialized = () => JSON.parse(JSON.stringify(root().serialize()))

/** What the server says of the graph: `{graph, report}`. */
async function ask(graph) {
  const response = await api.fetchApi("/animatelcm/move", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(graph),
  })
  const answer = await response.json().catch(() => null) // a server without the route answers in plain words
  if (!answer) throw new Error(`The server does not know how to (status ${response.status}). Restart ComfyUI.`)
  if (!response.ok) throw new Error(answer.error.message)
  return answer
}

const becomes = ({ becomes, stays, verdict }) => {
  if (stays) return "stays as it is"
  if (becomes.length) return `becomes ${becomes.join(" and ")}`
  return verdict === "left" ? "is taken out" : "is read into the nodes that it was connected to"
}

const item = (node) =>
  element(
    "li",
    {},
    element("span", { className: `verdict ${node.verdict}`, textContent: node.verdict }),
    element("span", {}, element("b", { textContent: node.title }), ` (node ${node.id}) ${becomes(node)}.`),
    ...node.remarks.map(({ differs, advice }) => element("small", { textContent: `${differs} ${advice}`.trim() })),
  )

/** Show the report; true if the graph is to be moved. */
function confirmed({ summary, nodes, moves }) {
  return new Promise((resolve) => {
    const order = ["left", "close", "exact"]
    const sorted = [...nodes].sort((a, b) => order.indexOf(a.verdict) - order.indexOf(b.verdict))
    const button = (textContent, className, value) =>
      element("button", { type: "button", textContent, className, autofocus: !!value, onclick: () => dialog.close(value) })
    const dialog = element(
      "dialog",
      { className: "animatelcm-move", onclose: () => (dialog.remove(), resolve(dialog.returnValue === "move")) },
      element("h2", { textContent: LABEL }),
      element("p", { textContent: summary }),
      element("ul", {}, ...sorted.map(item)),
      element("footer", {}, button("Cancel", "", ""), ...(moves ? [button("Move", "primary", "move")] : [])),
    )
    dialog.onkeydown = (event) => event.stopPropagation() // the page has shortcuts of its own
    document.body.append(dialog)
    dialog.showModal()
  })
}

/** Put another graph in the place of this one, as one step of the history. */
async function replaceGraph(graph) {
  const tracker = app.extensionManager.workflow?.activeWorkflow?.changeTracker
  if (!tracker) return app.loadGraphData(graph)
  const capture = tracker.captureCanvasState ?? tracker.checkState
  capture.call(tracker) // so that undo leads to what is seen now
  tracker.redoQueue.splice(0, Infinity, graph)
  await tracker.redo()
  for (let frame = 0; frame < 2; frame++) await new Promise(requestAnimationFrame) // "Nodes 2.0" sets sizes by then
  tracker.activeState = serialized() // as the page writes it, so that the next look finds no change
}

async function move() {
  try {
    const { graph, report } = await ask(serialized())
    if (!report.nodes.length) return tell("info", report.summary)
    const moves = report.nodes.some((node) => !node.stays)
    if (await confirmed({ ...report, moves })) await replaceGraph(graph)
  } catch (error) {
    tell("error", `The workflow could not be moved: ${error.message}`)
  }
}

app.registerExtension({
  name: ID,
  commands: [{ id: ID, label: LABEL, icon: "pi pi-arrow-right-arrow-left", function: move }],
  menuCommands: [{ path: ["Edit"], commands: [ID] }],
  getCanvasMenuItems: () => [null, { content: LABEL, callback: move }],
  setup: () => document.head.append(element("style", { textContent: STYLE })),
  afterConfigureGraph(missing) {
    const names = (missing ?? []).map((node) => node.type ?? node)
    if (names.some((name) => THEIRS.test(name)))
      tell("info", `This workflow is made of AnimateDiff-Evolved's nodes. Edit > ${LABEL} makes it run here.`)
  },
})
