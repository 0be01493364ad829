"""The tools of the demonstration corpus: schemas, requests, responses and how an answer phrases them.

Names of tools, parameters and response fields vary, so that the model has to copy them from the
list of tools instead of learning them by heart.
"""

from __future__ import annotations

from dataclasses import dataclass, field

Form = tuple[tuple[tuple[str, ...], ...], dict[str, str]]


@dataclass(frozen=True)
class Param:
    """One parameter: possible names, JSON type, and the kind of value demo_corpus.py draws."""

    names: tuple[str, ...]
    kind: str
    type: str = "string"
    description: str = ""


@dataclass(frozen=True)
class Tool:
    """`asks` and the replies use {0}, {1}, … for arguments; replies also {f}, {g} for response fields.

    `forms` lists the possible responses: the possible names and kinds of each field, and the reply in
    each language. A field is written (kind, name, name, …).
    """

    key: str
    names: tuple[str, ...]
    descriptions: tuple[str, ...]
    params: tuple[Param, ...]
    asks: dict[str, list[str]]
    forms: tuple[Form, ...]
    pairs: tuple[str, ...] = field(default=())  # requests for two calls at once: {0} and {1} are two values


DONE = ("ok", "status", "result", "success", "done")


def done(text: str) -> tuple[Form, ...]:
    return (((DONE,), {"en": text}),)


PLACE = ("city", "location", "place", "town")

TOOLS: tuple[Tool, ...] = (
    Tool(
        "weather", ("get_weather", "weather", "current_weather", "fetch_weather", "weather_now"),
        ("Get the weather of a city", "Current weather", "Tell the weather in a place"),
        (Param(PLACE, "city", description="Name of the city"),),
        {
            "en": ["What is the weather in {0}?", "What's the weather in {0}?", "How is the weather in {0}?", "Weather in {0}?", "Weather in {0}", "What is the weather like in {0}?", "Tell me the weather in {0}", "Is it raining in {0}?", "How warm is it in {0}?", "Is it cold in {0}?"],
            "fr": ["Quel temps fait-il à {0} ?", "Quelle est la météo à {0} ?", "Météo à {0} ?"],
            "de": ["Wie ist das Wetter in {0}?", "Wetter in {0}?", "Regnet es in {0}?"],
            "es": ["¿Qué tiempo hace en {0}?", "¿Cómo está el tiempo en {0}?", "¿Llueve en {0}?"],
            "zh": ["{0}的天气怎么样？", "{0}天气如何？", "{0}下雨吗？"],
            "ja": ["{0}の天気はどうですか？", "{0}の天気は？", "{0}の天気を教えて"],
            "ko": ["{0} 날씨 어때?", "{0} 날씨가 어때요?", "{0} 날씨 알려줘"],
            "ar": ["كيف الطقس في {0}؟", "ما حالة الطقس في {0}؟", "هل تمطر في {0}؟"],
        },
        (
            ((("degrees", "temperature", "temp", "temperature_c", "celsius"), ("condition", "condition", "sky", "description", "weather")),
             {"en": "It is {f} °C and {g} in {0}.", "fr": "Il fait {f} °C à {0} : {g}.", "de": "In {0} sind es {f} °C: {g}.", "es": "En {0} hay {f} °C: {g}.", "zh": "{0}现在 {f} °C, {g}。", "ja": "{0}は {f} °C、 {g}です。", "ko": "{0}: {f} °C, {g}.", "ar": "{0}: {f} °C, {g}."}),
            ((("degrees", "temperature", "temp", "temperature_c", "celsius"),),
             {"en": "It is {f} °C in {0}.", "fr": "Il fait {f} °C à {0}.", "de": "In {0} sind es {f} °C.", "es": "En {0} hay {f} °C.", "zh": "{0}现在 {f} °C。", "ja": "{0}は {f} °Cです。", "ko": "{0}: {f} °C.", "ar": "{0}: {f} °C."}),
        ),
        ("What is the weather in {0} and in {1}?", "Weather in {0} and {1}?", "Compare the weather in {0} and {1}"),
    ),
    Tool(
        "status", ("get_system_status", "system_status", "check_system", "get_status", "hardware_status"),
        ("Get the status of a component", "Status of the computer", "Check a part of the system"),
        (Param(("component", "part", "device", "unit"), "component", description="cpu, gpu, memory, disk, network or battery"),),
        {
            "en": ["What is the status of the {0}?", "How is the {0}?", "Check the {0}", "How is my {0} doing?", "Show me the {0} status", "What is the {0} status?", "Is the {0} ok?", "Check my {0}, please", "How busy is the {0}?", "Status of the {0}?", "Can you check the {0}?", "What's the {0} status?"],
            "fr": ["Quel est l'état du composant {0} ?", "Vérifie {0}", "Comment va {0} ?"],
            "de": ["Wie ist der Status von {0}?", "Prüfe {0}", "Wie geht es {0}?"],
            "es": ["¿Cuál es el estado de {0}?", "Revisa {0}", "¿Cómo está {0}?"],
            "zh": ["{0}的状态怎么样？", "检查{0}", "查看{0}状态"],
            "ja": ["{0}の状態は？", "{0}を確認して", "{0}の状態を教えて"],
            "ko": ["{0} 상태 어때?", "{0} 확인해줘", "{0} 상태 알려줘"],
            "ar": ["ما حالة {0}؟", "افحص {0}", "كيف حالة {0}؟"],
        },
        (
            ((("percent", "usage", "load", "usage_percent", "utilization"),),
             {"en": "The {0} is at {f} %.", "fr": "{0} : {f} %.", "de": "{0}: {f} %.", "es": "{0}: {f} %.", "zh": "{0}: {f} %。", "ja": "{0}: {f} %です。", "ko": "{0}: {f} %.", "ar": "{0}: {f} %."}),
            ((("health", "status", "state", "health"),),
             {"en": "The {0} is {f}.", "fr": "{0} : {f}.", "de": "{0}: {f}.", "es": "{0}: {f}.", "zh": "{0}: {f}。", "ja": "{0}: {f}です。", "ko": "{0}: {f}.", "ar": "{0}: {f}."}),
            ((("percent", "usage", "load", "usage_percent", "utilization"), ("warmth", "temperature", "temp", "temperature_c")),
             {"en": "The {0} is at {f} % and {g} °C.", "fr": "{0} : {f} %, {g} °C.", "de": "{0}: {f} %, {g} °C.", "es": "{0}: {f} %, {g} °C.", "zh": "{0}: {f} %, {g} °C。", "ja": "{0}: {f} %, {g} °Cです。", "ko": "{0}: {f} %, {g} °C.", "ar": "{0}: {f} %, {g} °C."}),
        ),
        ("Check the {0} and the {1}", "How are the {0} and the {1}?", "What is the status of the {0} and the {1}?"),
    ),
    Tool(
        "time", ("get_time", "current_time", "local_time", "clock", "time_in"),
        ("Get the local time of a city", "Current time in a place", "What time it is"),
        (Param(PLACE, "city", description="Name of the city"),),
        {
            "en": ["What time is it in {0}?", "What is the time in {0}?", "Time in {0}?", "Tell me the time in {0}", "What's the time in {0}?", "How late is it in {0}?"],
            "fr": ["Quelle heure est-il à {0} ?", "L'heure à {0} ?"], "de": ["Wie spät ist es in {0}?", "Wie viel Uhr ist es in {0}?"],
            "es": ["¿Qué hora es en {0}?", "¿Hora en {0}?"], "zh": ["{0}现在几点？", "{0}几点了？"], "ja": ["{0}は今何時ですか？", "{0}の時間は？"],
            "ko": ["{0} 지금 몇 시야?", "{0}는 몇 시예요?"], "ar": ["كم الساعة في {0}؟", "ما الوقت في {0}؟"],
        },
        (
            ((("clock", "time", "local_time", "now"),),
             {"en": "It is {f} in {0}.", "fr": "Il est {f} à {0}.", "de": "In {0} ist es {f} Uhr.", "es": "En {0} son las {f}.", "zh": "{0}现在 {f}。", "ja": "{0}は {f}です。", "ko": "{0}: {f}.", "ar": "{0}: {f}."}),
        ),
        ("What time is it in {0} and in {1}?", "Tell me the time in {0} and in {1}"),
    ),
    Tool(
        "timer", ("set_timer", "start_timer", "timer", "countdown", "create_timer"),
        ("Start a timer", "Set a countdown timer", "Timer in minutes"),
        (Param(("minutes", "duration", "mins", "length"), "minutes", "integer", "Duration in minutes"),),
        {
            "en": ["Set a timer for {0} minutes", "Start a timer for {0} minutes", "Timer for {0} minutes", "Set a {0} minute timer", "Count down {0} minutes", "Wake me in {0} minutes", "{0} minute timer please"],
            "fr": ["Mets un minuteur de {0} minutes", "Minuteur de {0} minutes"], "de": ["Stelle einen Timer auf {0} Minuten", "Timer für {0} Minuten"],
            "es": ["Pon un temporizador de {0} minutos", "Temporizador de {0} minutos"], "zh": ["设置{0}分钟的计时器", "{0}分钟计时"], "ja": ["{0}分のタイマーをセットして", "{0}分タイマー"],
            "ko": ["{0}분 타이머 맞춰줘", "{0}분 타이머"], "ar": ["اضبط مؤقتا لمدة {0} دقيقة", "مؤقت {0} دقيقة"],
        },
        (
            ((DONE,),
             {"en": "The timer is set to {0} minutes.", "fr": "Le minuteur est réglé sur {0} minutes.", "de": "Der Timer steht auf {0} Minuten.", "es": "El temporizador está en {0} minutos.", "zh": "计时器已设为 {0} 分钟。", "ja": "タイマーを {0} 分にセットしました。", "ko": "타이머를 {0} 분으로 맞췄습니다.", "ar": "تم ضبط المؤقت على {0} دقيقة."}),
        ),
    ),
    Tool("alarm", ("set_alarm", "create_alarm", "alarm", "add_alarm"), ("Set an alarm", "Wake up at a time"), (Param(("time", "at", "hour", "when"), "clock"),),
         {"en": ["Set an alarm for {0}", "Wake me up at {0}", "Wake me at {0}", "Alarm at {0}", "I need an alarm at {0}", "Set the alarm to {0}"]}, done("The alarm is set for {0}.")),
    Tool("message", ("send_message", "send_text", "message", "text_person"), ("Send a message to a person", "Send a text"),
         (Param(("to", "recipient", "person", "contact"), "name"), Param(("text", "message", "body", "content"), "text")),
         {"en": ["Send a message to {0}: {1}", "Text {0}: {1}", "Tell {0}: {1}", "Write to {0}: {1}", "Message {0}: {1}", "Send {0} the message: {1}"]}, done("The message to {0} was sent.")),
    Tool("music", ("play_music", "play_artist", "start_music", "play", "music_player"), ("Play music", "Play songs of an artist"), (Param(("artist", "singer", "band", "musician"), "name"),),
         {
             "en": ["Play music by {0}", "Play something by {0}", "Play songs by {0}", "I want to hear {0}", "Put on {0}", "Play {0}"],
             "fr": ["Joue de la musique de {0}", "Mets {0}"], "de": ["Spiele Musik von {0}", "Spiele {0}"], "es": ["Pon música de {0}", "Toca {0}"],
             "zh": ["播放{0}的音乐", "播放{0}的歌"], "ja": ["{0}の音楽をかけて", "{0}の曲を流して"], "ko": ["{0} 음악 틀어줘", "{0} 노래 틀어줘"], "ar": ["شغل موسيقى {0}", "شغل أغاني {0}"],
         },
         (((DONE,), {"en": "Now playing {0}.", "fr": "Lecture de {0}.", "de": "Jetzt läuft {0}.", "es": "Suena {0}.", "zh": "正在播放 {0}。", "ja": "{0}を再生しています。", "ko": "{0} 재생 중입니다.", "ar": "يتم الآن تشغيل {0}."}),)),
    Tool("light", ("set_light", "switch_light", "light_control", "control_light"), ("Switch a light", "Turn a light on or off"),
         (Param(("room", "place", "area", "zone"), "room"), Param(("state", "mode", "power", "value"), "onoff", description="on or off")),
         {"en": ["Turn {1} the light in the {0}", "Switch {1} the {0} light", "Turn the {0} light {1}", "Turn {1} the {0} light", "Light {1} in the {0}", "Switch the light in the {0} {1}"]}, done("The light in the {0} is {1}.")),
    Tool("search", ("web_search", "search_web", "search", "search_internet", "find_online"), ("Search the web", "Look something up on the internet"), (Param(("query", "q", "terms", "keywords"), "text"),),
         {"en": ["Search the web for {0}", "Search for {0}", "Look up {0}", "Find {0} on the web", "Search the internet for {0}", "Search online for {0}"]},
         (((("count", "results", "hits", "count", "total"),), {"en": "I found {f} results for {0}."}),)),
    Tool("stock", ("get_stock_price", "stock_price", "quote", "get_quote", "share_price"), ("Get a stock price", "Price of a share"), (Param(("symbol", "ticker", "stock", "share"), "symbol"),),
         {"en": ["What is the stock price of {0}?", "Stock price of {0}?", "How is {0} trading?", "Get the price of {0}", "What does {0} cost?", "Price of {0}?"]},
         (((("count", "price", "value", "usd", "last"),), {"en": "{0} is at {f} dollars."}),), ("What are the stock prices of {0} and {1}?", "Get the prices of {0} and {1}")),
    Tool("note", ("add_note", "create_note", "save_note", "note", "write_note"), ("Save a note", "Write a note"), (Param(("text", "note", "content", "body"), "text"),),
         {"en": ["Make a note: {0}", "Add a note: {0}", "Note: {0}", "Save a note: {0}", "Take a note: {0}", "Write this down: {0}"]}, done("The note is saved.")),
    Tool("currency", ("convert_currency", "exchange", "currency_converter", "convert_money"), ("Convert money", "Convert an amount to another currency"),
         (Param(("amount", "sum", "value", "quantity"), "amount", "integer"), Param(("from_currency", "source", "from_code", "base"), "currency"), Param(("to_currency", "target", "to_code", "goal"), "currency")),
         {"en": ["Convert {0} {1} to {2}", "How much is {0} {1} in {2}?", "What is {0} {1} in {2}?", "Change {0} {1} into {2}", "{0} {1} in {2}?"]},
         (((("count", "result", "amount", "value", "converted"),), {"en": "{0} {1} is {f} {2}."}),)),
    Tool("order", ("get_order_status", "order_status", "track_order", "find_order", "lookup_order"), ("Get the state of an order", "Track an order"), (Param(("order_id", "order", "id", "order_number"), "id", "integer"),),
         {"en": ["Where is order {0}?", "What is the status of order {0}?", "Track order {0}", "Where is my order {0}?", "Look up order {0}", "Status of order {0}?"]},
         (((("shipping", "status", "state", "order_state"),), {"en": "Order {0} is {f}."}),), ("Where are orders {0} and {1}?", "Track orders {0} and {1}")),
    Tool("dice", ("roll_dice", "roll_die", "dice", "throw_dice"), ("Roll a die", "Throw a die"), (Param(("sides", "faces", "max", "size"), "sides", "integer"),),
         {"en": ["Roll a die with {0} sides", "Roll a {0} sided die", "Throw a {0} sided die", "Throw a die with {0} sides"]},
         (((("sides", "result", "value", "roll", "number"),), {"en": "The die shows {f}."}),)),
    Tool("volume", ("set_volume", "volume", "change_volume", "audio_volume"), ("Set the volume", "Change the volume"), (Param(("level", "volume", "percent", "loudness"), "percent", "integer"),),
         {"en": ["Set the volume to {0}", "Volume {0}", "Change the volume to {0}", "Turn the volume to {0}", "Put the volume at {0} percent"]}, done("The volume is set to {0}.")),
    Tool("heating", ("set_temperature", "heat_room", "set_heating", "thermostat"), ("Set the temperature of a room", "Heat a room"),
         (Param(("room", "place", "area", "zone"), "room"), Param(("degrees", "temperature", "celsius", "target"), "warmth", "integer")),
         {"en": ["Heat the {0} to {1} degrees", "Set the {0} to {1} degrees", "Set the temperature in the {0} to {1}", "Make the {0} {1} degrees warm", "Set the heating in the {0} to {1} degrees"]}, done("The {0} is set to {1} degrees.")),
    Tool("app", ("open_app", "start_app", "launch_app", "run_app", "launch"), ("Open an app", "Start a program"), (Param(("app", "name", "program", "application"), "word"),),
         {"en": ["Open {0}", "Start {0}", "Launch {0}", "Run {0}", "Open the app {0}", "Start the program {0}"]}, done("Opened {0}.")),
    Tool("file", ("read_file", "open_file", "show_file", "get_file", "load_file"), ("Read a file", "Show the text of a file"), (Param(("path", "file", "filename", "file_name"), "file"),),
         {"en": ["Read the file {0}", "Show me {0}", "Open the file {0}", "Read {0}", "What is in {0}?", "Show the file {0}"]},
         (((("text", "content", "text", "data", "body"),), {"en": "The file {0} says: {f}"}),)),
    Tool("service", ("restart_service", "restart", "reboot_service", "service_restart"), ("Restart a service", "Restart a system service"), (Param(("service", "name", "unit", "process"), "word"),),
         {"en": ["Restart the service {0}", "Restart {0}", "Please restart {0}", "Restart the {0} service", "Reboot the service {0}"]}, done("The service {0} was restarted.")),
    Tool("distance", ("get_distance", "distance", "route_length", "measure_route"), ("Distance between two cities", "How far two places are apart"),
         (Param(("start", "origin", "from_city", "source"), "city"), Param(("end", "destination", "to_city", "goal"), "city")),
         {"en": ["How far is it from {0} to {1}?", "What is the distance from {0} to {1}?", "Distance from {0} to {1}?", "How far is {0} from {1}?", "How long is the way from {0} to {1}?"]},
         (((("count", "km", "distance", "distance_km", "kilometres"),), {"en": "From {0} to {1} it is {f} km."}),)),
    Tool("event", ("add_event", "create_event", "calendar_add", "schedule"), ("Add an event to the calendar", "Put an event in the calendar"),
         (Param(("title", "event", "name", "subject"), "word"), Param(("day", "date", "weekday", "on"), "day"), Param(("time", "at", "hour", "start"), "clock")),
         {"en": ["Add {0} on {1} at {2}", "Schedule {0} on {1} at {2}", "Put {0} in my calendar on {1} at {2}", "Plan {0} for {1} at {2}", "I have {0} on {1} at {2}"]}, done("Added {0} on {1} at {2}.")),
    Tool("user", ("get_user", "find_user", "lookup_user", "user_info"), ("Find a user by name", "Look up a person"), (Param(("name", "user", "username", "person"), "name"),),
         {"en": ["Find the user {0}", "Look up the user {0}", "Who is the user {0}?", "Get the data of user {0}", "Show me the user {0}"]},
         (((("name", "role", "job", "position"),), {"en": "The user {0} has the role {f}."}),)),
    Tool("date", ("get_date", "today", "current_date", "get_today"), ("Get today's date", "Tell the date"), (),
         {"en": ["What is today's date?", "What day is it today?", "What is the date?", "Tell me the date", "What's the date today?"]},
         (((("date", "date", "today", "day"),), {"en": "Today is {f}."}),)),
    Tool("devices", ("list_devices", "get_devices", "show_devices", "scan_devices"), ("List the devices", "Show all devices"), (),
         {"en": ["List my devices", "Which devices are there?", "Show all devices", "List the devices", "What devices do I have?"]},
         (((("count", "count", "devices", "total"),), {"en": "There are {f} devices."}),)),
    Tool("screenshot", ("take_screenshot", "screenshot", "capture_screen", "grab_screen"), ("Take a screenshot", "Capture the screen"), (),
         {"en": ["Take a screenshot", "Make a screenshot", "Capture the screen", "Screenshot please", "I need a screenshot"]}, done("The screenshot is taken.")),
)
