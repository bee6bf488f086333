-- archcheck in Neovim 0.7 to 0.9, which know no inlay hints: the shapes are drawn as virtual text.
-- Have it run from your init.lua: dofile("/path/to/neovim.lua"). From 0.11 on, see editors.md.

local space = vim.api.nvim_create_namespace("archcheck")

local function draw_shapes(client, buffer)
  local document = { uri = vim.uri_from_bufnr(buffer) }
  local last = { line = vim.api.nvim_buf_line_count(buffer), character = 0 }
  local range = { start = { line = 0, character = 0 }, ["end"] = last }
  local question = { textDocument = document, range = range }
  client.request("textDocument/inlayHint", question, function(_, hints)
    if not vim.api.nvim_buf_is_loaded(buffer) then
      return
    end
    vim.api.nvim_buf_clear_namespace(buffer, space, 0, -1)
    for _, hint in ipairs(hints or {}) do
      local line = math.min(hint.position.line, vim.api.nvim_buf_line_count(buffer) - 1)
      local text = { { "  " .. hint.label, "Comment" } }
      vim.api.nvim_buf_set_extmark(buffer, space, line, 0, { virt_text = text })
    end
  end, buffer)
end

local capabilities = vim.lsp.protocol.make_client_capabilities()
capabilities.workspace.inlayHint = { refreshSupport = true }

local function start(buffer)
  local folder = vim.fn.fnamemodify(vim.api.nvim_buf_get_name(buffer), ":p:h")
  local settings = vim.fn.findfile("pyproject.toml", folder .. ";")
  local root = settings == "" and folder or vim.fn.fnamemodify(settings, ":p:h")
  for _, client in pairs(vim.lsp.get_active_clients()) do
    if client.name == "archcheck" and client.config.root_dir == root then
      return client.id
    end
  end
  return vim.lsp.start_client({
    name = "archcheck",
    cmd = { "archcheck", "lsp" },
    root_dir = root,
    workspace_folders = { { uri = vim.uri_from_fname(root), name = root } },
    capabilities = capabilities,
    handlers = {
      ["workspace/inlayHint/refresh"] = function(_, _, context)
        for _, buffer in ipairs(vim.lsp.get_buffers_by_client_id(context.client_id)) do
          draw_shapes(vim.lsp.get_client_by_id(context.client_id), buffer)
        end
        return vim.NIL
      end,
    },
  })
end

vim.api.nvim_create_autocmd("FileType", {
  pattern = { "python", "markdown" },
  callback = function(event)
    vim.lsp.buf_attach_client(event.buf, start(event.buf))
  end,
})

-- :ArchcheckTrace 8,3,224,224 traces the class around the cursor with this input.
vim.api.nvim_create_user_command("ArchcheckTrace", function(given)
  local line = vim.fn.search([[^\s*class\s]], "bcnW")
  local name = vim.fn.matchstr(vim.fn.getline(line), [[class\s\+\zs\w\+]])
  local arguments = { vim.uri_from_bufnr(0), name, unpack(given.fargs) }
  local command = { command = "archcheck.trace", arguments = arguments }
  vim.lsp.buf_request(0, "workspace/executeCommand", command, function() end)
end, { nargs = "*" })
