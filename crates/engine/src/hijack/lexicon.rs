//! Classes of English words by which one can hear that somebody is spoken to.
//!
//! Classes, not phrases: a payload may be worded in any way. The lists are of the language, not of any collection of
//! attacks; a model decides what they are worth.

/// Function words.
pub(super) const STOP: u32 = 1;
/// What one can tell somebody to do.
pub(super) const VERB: u32 = 1 << 1;
/// The one who is spoken to.
pub(super) const YOU: u32 = 1 << 2;
/// The one who speaks.
pub(super) const ME: u32 = 1 << 3;
/// Duty.
pub(super) const MUST: u32 = 1 << 4;
/// Order in time.
pub(super) const ORDER: u32 = 1 << 5;
/// Names for an agent.
pub(super) const AGENT: u32 = 1 << 6;
/// Words for what an agent is asked.
pub(super) const META: u32 = 1 << 7;
/// Sets something else aside.
pub(super) const OVERRIDE: u32 = 1 << 8;
/// Presses.
pub(super) const URGENT: u32 = 1 << 9;
/// Gives a reason.
pub(super) const REASON: u32 = 1 << 10;
/// Politeness.
pub(super) const POLITE: u32 = 1 << 11;
/// Goes back to what was done before.
pub(super) const RETURN: u32 = 1 << 12;
/// Reads.
pub(super) const READS: u32 = 1 << 13;
/// Changes or sends.
pub(super) const WRITES: u32 = 1 << 14;
/// What is worth stealing.
pub(super) const SECRET: u32 = 1 << 15;

/// Classes that the features count, with their names.
pub(super) const COUNTED: &[(&str, u32)] = &[
    ("verb", VERB),
    ("you", YOU),
    ("me", ME),
    ("must", MUST),
    ("order", ORDER),
    ("agent", AGENT),
    ("meta", META),
    ("override", OVERRIDE),
    ("urgent", URGENT),
    ("reason", REASON),
    ("polite", POLITE),
    ("return", RETURN),
    ("secret", SECRET),
];

const LISTS: &[(u32, &str)] = &[
    (
        STOP,
        "a an the and or but if of to in on at by for with from as is are was were be been being it its this that these those there \
         he she they them his her their him i me my mine we our us you your yours yourself not no nor so than too very can could will \
         would shall should may might must do does did have has had having what which who whom whose when where why how all any some \
         each other into out up down over under again then once here just also about only own same such more most between during \
         s t d m ll re ve n http https www com org net html none null true false",
    ),
    (
        VERB,
        "send forward email mail delete remove create add update change visit open click go browse navigate read write post share \
         transfer pay buy purchase book reserve schedule reschedule invite upload download install run execute call use invoke find \
         search get retrieve fetch list show make set reset grant give provide include append copy move save log login submit fill \
         check verify confirm tell say reply respond ask contact message notify report cancel refund exchange modify edit enable \
         disable turn unlock lock export import publish push merge clone commit deploy star fork approve withdraw deposit sell trade \
         order ignore disregard forget stop do perform complete follow ensure remember consider insert replace attach cc bcc encode \
         print output summarize summarise translate start begin continue proceed resume enter take put look collect gather obtain \
         compile concatenate combine extract reveal disclose erase clear wipe rename subscribe unsubscribe register sign authorize \
         authorise access review return rate recommend donate play schedule close block unblock accept reject assign comment tag keep \
         let help bring leave display view query count compute apply mark archive restore mention carry begin pass drop paste",
    ),
    (YOU, "you your yours yourself u"),
    (ME, "i me my mine myself we our us ours"),
    (
        MUST,
        "must should need needs shall required require requires mandatory necessary obligatory have has ought supposed ensure sure always never",
    ),
    (
        ORDER,
        "before after first firstly then once finally next afterwards afterward later beforehand until prior additionally additional \
         also second lastly beginning subsequently meanwhile now when while otherwise",
    ),
    (
        AGENT,
        "assistant ai agent agents bot llm chatbot gpt chatgpt claude gemini llama qwen mistral copilot model models automation \
         automated robot",
    ),
    (
        META,
        "task tasks instruction instructions request requests step steps goal goals prompt system user original previous workflow \
         message tool tools function command commands action actions todo note process procedure response answer output reply \
         instructed objective job query directive directives guideline context conversation session operator developer administrator \
         admin",
    ),
    (OVERRIDE, "ignore disregard forget override bypass instead overrule supersede skip supersedes overrides drop neglect abandon"),
    (
        URGENT,
        "important importantly urgent urgently immediately immediate critical asap attention warning alert notice mandatory required \
         necessary priority essential crucial quickly promptly now",
    ),
    (
        REASON,
        "because since otherwise security policy authorized authorised authorization authorisation verification compliance reason \
         unable cannot can't order due failure fail fails therefore thus hence purpose accessible",
    ),
    (POLITE, "please kindly thanks thank appreciate appreciated"),
    (RETURN, "continue resume proceed return original back rest solve finish finished done afterwards complete completed initial"),
    (
        READS,
        "get list read search view check show find fetch query look retrieve browse describe count lookup info details status calculate \
         convert current load see inspect navigate think",
    ),
    (
        WRITES,
        "send delete remove create add update change post share transfer pay buy purchase book reserve schedule reschedule invite upload \
         download install run execute cancel refund modify edit set reset grant write insert submit input checkout cart move copy rename \
         merge push clone fork deploy approve withdraw deposit sell trade order unlock lock publish register login verify append forward \
         reply clear enable disable",
    ),
    (
        SECRET,
        "password passwords passcode pin otp ssn credential credentials secret secrets token tokens key keys apikey account accounts card \
         iban address phone number numbers balance medical health private confidential personal inbox contacts history passport login \
         recovery backup seed wallet transaction transactions",
    ),
];

/// The classes of a word in lower case.
pub(super) fn classes(word: &str) -> u32 {
    use std::{collections::HashMap, sync::OnceLock};
    static TABLE: OnceLock<HashMap<&'static str, u32>> = OnceLock::new();
    let table = TABLE.get_or_init(|| {
        let mut table = HashMap::new();
        for (class, list) in LISTS {
            for word in list.split_whitespace() {
                *table.entry(word).or_insert(0) |= class;
            }
        }
        table
    });
    table.get(word).copied().unwrap_or(0)
}
