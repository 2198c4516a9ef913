// Every string that the page shows, in each of its languages. t('key', {name: value}) fills {name}.
const kStrings = {
  en: {
    language_name: 'English',
    skip: 'Skip to the message field',
    conversation: 'Conversation', conversations: 'Conversations', new_chat: 'New conversation', untitled: 'New conversation',
    search: 'Search', search_history: 'Search conversations', no_matches: 'Nothing found', no_history: 'Conversations appear here. They stay in this browser.',
    pinned: 'Pinned', today: 'Today', yesterday: 'Yesterday', week: 'Last 7 days', older: 'Older',
    toggle_sidebar: 'Show or hide the list', open_settings: 'Settings', more: 'More',
    rename: 'Rename', title: 'Title', pin: 'Pin', unpin: 'Unpin', remove: 'Delete', undo: 'Undo', deleted: 'Conversation deleted.',
    export_json: 'Export as JSON', export_markdown: 'Export as Markdown', export_all: 'Export all', import: 'Import',
    imported: 'Conversations imported: {count}.', import_failed: '{file} was not imported: {reason}', import_bad: 'it holds no messages in OpenAI form',
    theme: 'Theme', theme_auto: 'Theme: as the system', theme_light: 'Theme: light', theme_dark: 'Theme: dark', language: 'Language: English',
    shortcuts: 'Keyboard shortcuts', close: 'Close', cancel: 'Cancel', save: 'Save', copy: 'Copy', copied: 'Copied', copy_code: 'Copy code',
    model: 'Model', no_model: 'No model', loading_models: 'Connecting …', context_share: 'Context {n} %', context_used: '{used} of {all} tokens of context',
    settings: 'Settings', system_prompt: 'System prompt', system_hint: 'How the model should behave in this conversation',
    sampling: 'Sampling', temperature: 'Temperature', top_p: 'Top-p', max_tokens: 'Longest reply (tokens)', seed: 'Seed', seed_hint: 'random', stop_strings: 'Stop strings', stop_hint: 'one a line, at most 4', voice: 'Voice of speech',
    from_model: 'model’s own', reset: 'Reset to the model’s own', new_seed: 'Another seed', reset_all: 'Reset all',
    connection: 'Connection', api_key: 'API key', api_key_hint: 'Kept until this tab is closed. Needed only when the server asks for one.',
    message: 'Message', placeholder: 'Write a message', send: 'Send', stop: 'Stop', attach: 'Add pictures or recordings', record: 'Record', recording: 'Recording', finish_recording: 'Finish the recording', discard_recording: 'Discard the recording',
    reply_as: 'Reply as', auto: 'Auto', text: 'Text', image: 'Picture', speech: 'Speech', music: 'Music', drop: 'Drop pictures or recordings here',
    remove_attachment: 'Remove {name}', sound_is: 'This recording is', picture_n: 'Picture {n}', recording_n: 'Recording {n}',
    you: 'You', assistant: 'Reply', edit: 'Edit', edit_message: 'Edit the message', send_edit: 'Send', regenerate: 'Another reply', previous_version: 'Previous version', next_version: 'Next version', version_of: 'Version {n} of {all}',
    copy_message: 'Copy the text', thinking: 'Working on it', stopped: 'Stopped', cut: 'The longest reply was reached', receiving_sound: 'Receiving sound', latest: 'To the end',
    stat_tokens: '{n} tokens', stat_rate: '{n} tokens/s', stat_first: 'first after {n} s',
    play: 'Play', pause: 'Pause', position: 'Position', save_sound: 'Save the recording', save_picture: 'Save the picture', speed: 'Speed', generated_picture: 'Picture made by the model', attached_picture: 'Picture in the message', transcript: 'Transcript', bad_sound: 'This recording cannot be played here.', enlarge: 'Enlarge the picture',
    welcome: 'What shall we make?', welcome_media: '{list}: in and out of one model.', welcome_text: 'Ask, and the model answers in text.', some_text: 'text', some_image: 'pictures', some_speech: 'speech', some_music: 'music',
    idea_draw: 'Draw two red circles above a cat', idea_speak: 'Say “good morning”', idea_music: 'Play a slow tune in a minor key', idea_see: 'What is in this picture?', idea_hear: 'Write down what I say', idea_write: 'Explain in three sentences how a bicycle stays upright.', idea_plan: 'Plan a weekend of hiking for two.',
    error_network: 'The server cannot be reached. Is it still running?', error_401: 'The server asks for an API key, or does not know this one.', error_403: 'This key may not do that.', error_404: 'The server does not know this model or address.', error_413: 'The message is too large for the server.',
    error_429: 'The server is busy.', error_429_wait: 'The server is busy. It asks to wait {n} s.', error_503: 'The model is still loading.', error_500: 'The server failed.', error_context: 'The conversation is longer than the model’s context. Start a new one, or edit an earlier message.', error_stream: 'The connection broke off before the reply was complete.',
    error_empty: 'The reply was empty.', details: 'Details', thoughts: 'Thoughts', try_again: 'Try again', enter_key: 'Enter the key', reconnect: 'Connect again', connected: 'Connected.',
    mic_denied: 'The browser does not allow the microphone. Allow it in the address bar, then try again.', mic_missing: 'No microphone was found.', mic_insecure: 'Recording works only on localhost or over https.', mic_failed: 'The recording failed: {reason}', mic_short: 'The recording is empty.',
    file_unknown: '{file} is neither a picture nor a recording that this browser can read.', file_large: '{file} is larger than {limit} MB.', not_taken: 'This model takes no {what}.', what_image: 'pictures', what_sound: 'recordings', storage_failed: 'This browser does not keep the history (private window?). Conversations are lost when the tab is closed.', storage_full: 'The browser’s storage is full; this change is not kept. Delete old conversations.', too_many: 'At most {n} attachments a message.',
    key_send: 'Send', key_newline: 'New line', key_stop: 'Stop the reply, close what is open', key_new: 'New conversation', key_search: 'Search conversations', key_sidebar: 'Show or hide the list', key_settings: 'Show or hide settings', key_focus: 'Go to the message field', key_edit: 'Edit the last message (in an empty field)', key_again: 'Another reply', key_help: 'This list',
  },
  zh: {
    language_name: '中文',
    skip: '跳到输入框',
    conversation: '对话', conversations: '对话', new_chat: '新对话', untitled: '新对话',
    search: '搜索', search_history: '搜索对话', no_matches: '没有找到', no_history: '对话会显示在这里，只保存在本浏览器中。',
    pinned: '已置顶', today: '今天', yesterday: '昨天', week: '最近 7 天', older: '更早',
    toggle_sidebar: '显示或隐藏列表', open_settings: '设置', more: '更多',
    rename: '重命名', title: '标题', pin: '置顶', unpin: '取消置顶', remove: '删除', undo: '撤销', deleted: '对话已删除。',
    export_json: '导出为 JSON', export_markdown: '导出为 Markdown', export_all: '全部导出', import: '导入',
    imported: '已导入 {count} 个对话。', import_failed: '未能导入 {file}：{reason}', import_bad: '其中没有 OpenAI 格式的消息',
    theme: '主题', theme_auto: '主题：跟随系统', theme_light: '主题：浅色', theme_dark: '主题：深色', language: '语言：中文',
    shortcuts: '键盘快捷键', close: '关闭', cancel: '取消', save: '保存', copy: '复制', copied: '已复制', copy_code: '复制代码',
    model: '模型', no_model: '没有模型', loading_models: '正在连接……', context_share: '上下文 {n}%', context_used: '上下文已用 {used} / {all} 个词元',
    settings: '设置', system_prompt: '系统提示', system_hint: '模型在本对话中应如何表现',
    sampling: '采样', temperature: '温度', top_p: 'Top-p', max_tokens: '回复上限（词元）', seed: '随机种子', seed_hint: '随机', stop_strings: '停止字符串', stop_hint: '每行一个，最多 4 个', voice: '语音音色',
    from_model: '模型默认', reset: '恢复模型默认', new_seed: '换一个种子', reset_all: '全部恢复',
    connection: '连接', api_key: 'API 密钥', api_key_hint: '仅保留到本标签页关闭。服务器要求时才需要填写。',
    message: '消息', placeholder: '输入消息', send: '发送', stop: '停止', attach: '添加图片或录音', record: '录音', recording: '正在录音', finish_recording: '完成录音', discard_recording: '放弃录音',
    reply_as: '回复形式', auto: '自动', text: '文字', image: '图片', speech: '语音', music: '音乐', drop: '把图片或录音拖到这里',
    remove_attachment: '移除{name}', sound_is: '这段录音是', picture_n: '图片 {n}', recording_n: '录音 {n}',
    you: '你', assistant: '回复', edit: '编辑', edit_message: '编辑消息', send_edit: '发送', regenerate: '重新生成', previous_version: '上一版本', next_version: '下一版本', version_of: '第 {n} 版，共 {all} 版',
    copy_message: '复制文字', thinking: '正在生成', stopped: '已停止', cut: '已达到回复上限', receiving_sound: '正在接收声音', latest: '到最新处',
    stat_tokens: '{n} 个词元', stat_rate: '{n} 词元/秒', stat_first: '首个用时 {n} 秒',
    play: '播放', pause: '暂停', position: '位置', save_sound: '保存录音', save_picture: '保存图片', speed: '速度', generated_picture: '模型生成的图片', attached_picture: '消息中的图片', transcript: '文字稿', bad_sound: '无法在此播放这段录音。', enlarge: '放大图片',
    welcome: '今天想做点什么？', welcome_media: '{list}，由同一个模型理解和生成。', welcome_text: '提出问题，模型用文字回答。', some_text: '文字', some_image: '图片', some_speech: '语音', some_music: '音乐',
    idea_draw: '画一只猫，上方有两个红圆', idea_speak: '用语音说“早上好”', idea_music: '来一段缓慢的小调乐曲', idea_see: '这张图片里有什么？', idea_hear: '写下我说的话', idea_write: '用三句话说明自行车为什么不倒。', idea_plan: '为两个人安排一个周末的徒步。',
    error_network: '无法连接服务器。它还在运行吗？', error_401: '服务器需要 API 密钥，或者不认识当前密钥。', error_403: '此密钥没有相应权限。', error_404: '服务器找不到这个模型或地址。', error_413: '消息太大，服务器不接受。',
    error_429: '服务器繁忙。', error_429_wait: '服务器繁忙，请等待 {n} 秒。', error_503: '模型仍在加载。', error_500: '服务器出错了。', error_context: '对话超出了模型的上下文长度。请开始新对话，或编辑较早的消息。', error_stream: '回复尚未完成，连接就中断了。',
    error_empty: '回复为空。', details: '详情', thoughts: '思考过程', try_again: '重试', enter_key: '填写密钥', reconnect: '重新连接', connected: '已连接。',
    mic_denied: '浏览器不允许使用麦克风。请在地址栏中允许后再试。', mic_missing: '没有找到麦克风。', mic_insecure: '只有在 localhost 或 https 下才能录音。', mic_failed: '录音失败：{reason}', mic_short: '录音是空的。',
    file_unknown: '{file} 不是本浏览器能读取的图片或录音。', file_large: '{file} 超过 {limit} MB。', not_taken: '此模型不接受{what}。', what_image: '图片', what_sound: '录音', storage_failed: '本浏览器无法保存历史（无痕窗口？）。关闭标签页后对话将丢失。', storage_full: '浏览器存储空间已满，本次更改未保存。请删除旧对话。', too_many: '每条消息最多 {n} 个附件。',
    key_send: '发送', key_newline: '换行', key_stop: '停止回复，关闭已打开的面板', key_new: '新对话', key_search: '搜索对话', key_sidebar: '显示或隐藏列表', key_settings: '显示或隐藏设置', key_focus: '转到输入框', key_edit: '编辑上一条消息（输入框为空时）', key_again: '重新生成', key_help: '本列表',
  },
};

export const languages = Object.keys(kStrings);

let current = 'en';

/// The language chosen before, else the browser's first that the page has, else English.
export function pickLanguage(chosen) {
  if (languages.includes(chosen)) return chosen;
  for (const tag of navigator.languages ?? []) {
    const base = tag.toLowerCase().split('-')[0];
    if (languages.includes(base)) return base;
  }
  return 'en';
}

export function setLanguage(language) {
  current = language;
  document.documentElement.lang = language === 'zh' ? 'zh-Hans' : language;
}

export const language = () => current;

export function t(key, values = {}) {
  const text = kStrings[current][key] ?? kStrings.en[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

/// Keys that a language lacks or has in excess against English; the tests expect none.
export function languageGaps() {
  const english = Object.keys(kStrings.en);
  return languages.flatMap((name) => {
    const keys = Object.keys(kStrings[name]);
    return [...english.filter((key) => !keys.includes(key)), ...keys.filter((key) => !english.includes(key))]
      .map((key) => `${name}: ${key}`);
  });
}
